package live

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is USER_HZ, which Linux fixes at 100 for everything user space sees.
const clockTick = 10 * time.Millisecond

// Usage is what a process and its children use now.
type Usage struct {
	CPU     time.Duration // since they started
	RSS     int64         // bytes
	Threads int
	Files   int // open file descriptors
}

// UsageOf reads /proc for the process and its descendants.
func UsageOf(pid int) (Usage, error) {
	var u Usage
	for i, p := range family(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			if i == 0 {
				return u, err
			}
			continue
		}
		// The second field is a name in parentheses that may hold anything.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 22 {
			continue
		}
		n := func(i int) int64 { v, _ := strconv.ParseInt(f[i], 10, 64); return v }
		u.CPU += time.Duration(n(11)+n(12)) * clockTick
		u.Threads += int(n(17))
		u.RSS += n(21) * int64(os.Getpagesize())
		if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p)); err == nil {
			u.Files += len(fds)
		}
	}
	return u, nil
}

func family(pid int) []int {
	all := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			if c, err := strconv.Atoi(s); err == nil {
				all = append(all, family(c)...)
			}
		}
	}
	return all
}
