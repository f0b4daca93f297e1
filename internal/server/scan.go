package server

import (
	"context"
	"fmt"
	"io"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/scan"
)

// Scan inspects rows of text offline, with the detector and the policy of a configuration.
func Scan(ctx context.Context, cfg *config.Config, channel string, in io.Reader, out io.Writer) error {
	ch, ok := gate.ParseChannel(channel)
	if !ok {
		return fmt.Errorf("unknown channel %q: want one of %v", channel, gate.Channels())
	}
	pol, err := policy.New(policyOptions(cfg))
	if err != nil {
		return fmt.Errorf("read inspect.policy: %w", err)
	}
	det, err := newDetector(cfg)
	if err != nil {
		return err
	}
	return scan.Run(ctx, in, out, scan.Options{Detector: det.det, Policy: pol, Channel: ch})
}
