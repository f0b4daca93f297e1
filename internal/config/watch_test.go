package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The watcher waits for the kernel, so the clock of these tests is the real one; each waits for an
// event, with a bound.
func TestWatchFileSeesEveryWayOfWriting(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	// As Kubernetes mounts it: c.yaml -> ..data/c.yaml, ..data -> ..1
	for _, v := range []string{"..1", "..2"} {
		must(os.Mkdir(filepath.Join(dir, v), 0o700))
		must(os.WriteFile(filepath.Join(dir, v, "c.yaml"), []byte("# "+v), 0o600))
	}
	must(os.Symlink("..1", filepath.Join(dir, "..data")))
	must(os.Symlink("..data/c.yaml", filepath.Join(dir, "c.yaml")))
	plain := filepath.Join(dir, "plain.yaml")
	must(os.WriteFile(plain, []byte("# a"), 0o600))

	ctx, cancel := context.WithCancel(context.Background())
	type watch struct{ changed, ended chan struct{} }
	begin := func(path string) watch {
		w := watch{make(chan struct{}, 10), make(chan struct{})}
		go func() {
			defer close(w.ended)
			if err := WatchFile(ctx, path, func() { w.changed <- struct{}{} }); err != nil {
				t.Errorf("%v", err)
			}
		}()
		return w
	}
	k8s, own := begin(filepath.Join(dir, "c.yaml")), begin(plain)
	// seen repeats the act with new contents until it is seen, since the watch may just be beginning.
	seen := func(what string, w watch, act func(n int)) {
		t.Helper()
		for n := range 20 {
			act(n)
			select {
			case <-w.changed:
				return
			case <-time.After(time.Second):
			}
		}
		t.Fatalf("%s was not seen", what)
	}
	seen("a write", own, func(n int) { must(os.WriteFile(plain, []byte{'#', byte('a' + n), 'w'}, 0o600)) })
	seen("a rename over it", own, func(n int) {
		must(os.WriteFile(plain+".tmp", []byte{'#', byte('a' + n), 'r'}, 0o600))
		must(os.Rename(plain+".tmp", plain))
	})
	seen("a write after the rename", own, func(n int) { must(os.WriteFile(plain, []byte{'#', byte('a' + n), 'x'}, 0o600)) })
	seen("a removed and new file", own, func(n int) {
		must(os.Remove(plain))
		must(os.WriteFile(plain, []byte{'#', byte('a' + n), 'n'}, 0o600))
	})
	seen("a swapped link", k8s, func(n int) {
		must(os.Symlink([]string{"..2", "..1"}[n%2], filepath.Join(dir, "..tmp")))
		must(os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	})
	select {
	case <-own.changed:
		t.Error("a change that was none was reported")
	case <-time.After(2 * settle):
	}
	cancel()
	<-k8s.ended
	<-own.ended
}

func TestWatchFileOfNoDirectory(t *testing.T) {
	if err := WatchFile(context.Background(), filepath.Join(t.TempDir(), "absent", "c.yaml"), func() {}); err == nil {
		t.Error("watching what is not there")
	}
}
