package decode

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// layer is one decoder at work. release gives it back; clean says that it ended well.
type layer struct {
	io.Reader
	free func(clean bool)
}

func (l layer) release(clean bool) {
	if l.free != nil {
		l.free(clean)
	}
}

var (
	gzips sync.Pool // *gzip.Reader
	zlibs sync.Pool // io.ReadCloser that is a zlib.Resetter
	zstds sync.Pool // *zstd.Decoder
)

// source is what a layer reads: a ByteReader, so that no decoder reads past its own end.
type source interface {
	io.Reader
	io.ByteReader
}

func open(name string, in source) (layer, error) {
	switch name {
	case "gzip":
		z, _ := gzips.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		if err := z.Reset(in); err != nil {
			gzips.Put(z)
			return layer{}, corrupt(err)
		}
		// One member only: decoders differ in what they do with a second.
		z.Multistream(false)
		return layer{z, func(bool) { gzips.Put(z) }}, nil
	case "deflate":
		// RFC 9110 means zlib (RFC 1950). Raw deflate, which some senders mean, has no checksum and
		// fails at the zlib header.
		if z, ok := zlibs.Get().(io.ReadCloser); ok {
			if err := z.(zlib.Resetter).Reset(in, nil); err != nil {
				return layer{}, corrupt(err)
			}
			return layer{z, func(bool) { zlibs.Put(z) }}, nil
		}
		z, err := zlib.NewReader(in)
		if err != nil {
			return layer{}, corrupt(err)
		}
		return layer{z, func(bool) { zlibs.Put(z) }}, nil
	case "br":
		// Not pooled: a reader keeps its window (up to 16 MiB) when it is reset.
		return layer{Reader: brotli.NewReader(in)}, nil
	case "zstd":
		z, _ := zstds.Get().(*zstd.Decoder)
		if z == nil {
			var err error
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<30), zstd.WithDecodeBuffersBelow(0))
			if err != nil {
				return layer{}, err
			}
		}
		if err := z.Reset(in); err != nil {
			return layer{}, corrupt(err)
		}
		return layer{z, func(clean bool) {
			if !clean || z.Reset(nil) != nil {
				z.Close()
				return
			}
			zstds.Put(z)
		}}, nil
	}
	return layer{}, errUnknown
}

// corrupt keeps io.EOF, which a decoder returns for an empty body, from meaning a good end.
func corrupt(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// oneFrame walks a zstd body (RFC 8878 section 3.1) and wants exactly one frame, without a
// dictionary, that ends where the body ends. Decoders differ in what they do with more.
func oneFrame(raw []byte) error {
	var h zstd.Header
	if err := h.Decode(raw); err != nil {
		return corrupt(err)
	}
	if h.Skippable || h.DictionaryID != 0 {
		return errTrailing
	}
	if h.WindowSize > maxWindow {
		return errTooLarge
	}
	at := h.HeaderSize
	for {
		if at+3 > len(raw) {
			return io.ErrUnexpectedEOF
		}
		b := uint32(raw[at]) | uint32(raw[at+1])<<8 | uint32(raw[at+2])<<16
		last, kind, size := b&1 == 1, b>>1&3, int(b>>3)
		if kind == 1 { // RLE: size is of what comes out
			size = 1
		}
		at += 3 + size
		if last {
			break
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	switch {
	case at > len(raw):
		return io.ErrUnexpectedEOF
	case at < len(raw):
		return errTrailing
	}
	return nil
}
