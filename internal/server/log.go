package server

import (
	"io"
	"log/slog"
	"runtime/debug"

	"sallyport.dev/sallyport/internal/config"
)

// NewLogger makes the operator's log. Both handlers quote what is not printable, so that no text
// from outside can steer a terminal.
func NewLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	level := new(slog.LevelVar)
	setLevel(level, cfg)
	o := &slog.HandlerOptions{Level: level}
	if cfg.Watch.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func setLevel(v *slog.LevelVar, cfg *config.Config) {
	var l slog.Level
	if v == nil || l.UnmarshalText([]byte(cfg.Watch.Log.Level)) != nil {
		return
	}
	v.Set(l)
}

// Version is the release this binary was built as: the module version, or the commit.
func Version() string {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := bi.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	rev, dirty := "", ""
	for _, s := range bi.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if len(rev) >= 12 {
		return "devel-" + rev[:12] + dirty
	}
	return "devel"
}
