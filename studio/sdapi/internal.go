package sdapi

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// internal are the routes of the web UI's own page.
func (s *Server) internal() []route {
	thumb := get(s, "/sd_extra_networks/thumb", "A preview beside a file of a LoRA or a textual inversion.", func(*http.Request) (any, error) { return nil, nil }, "filename")
	thumb.handle, thumb.reply = s.thumb, nil
	cover := get(s, "/sd_extra_networks/cover-images", "A picture within such a file.", func(*http.Request) (any, error) { return nil, nil }, "page", "item", "index")
	cover.handle, cover.reply = s.cover, nil
	return []route{
		post(s, "/internal/progress", "How far a task is.", true, s.taskProgress),
		get(s, "/internal/pending-tasks", "The tasks that wait.", s.pending),
		get(s, "/internal/ping", "Whether there is a server.", func(*http.Request) (empty, error) { return empty{}, nil }),
		get(s, "/internal/sysinfo", "What the program runs on.", s.sysinfo),
		get(s, "/queue/status", "How much waits in the queue.", s.queueStatus),
		thumb, cover,
		get(s, "/sd_extra_networks/metadata", "What such a file says of itself.", s.metadata, "page", "item"),
		get(s, "/sd_extra_networks/get-single-card", "A card of such a file.", s.card, "page", "tabname", "name"),
	}
}

// system is what the program runs on; nothing of it is of the person who runs it.
type system struct {
	Version  string  `json:"Version"`
	Platform string  `json:"Platform"`
	Go       string  `json:"Go"`
	CPUs     int     `json:"CPUs"`
	RAM      ram     `json:"RAM"`
	Packages modules `json:"Packages"`
}

type modules []string

func (s *Server) sysinfo(*http.Request) (system, error) {
	info := system{Version: s.options.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), CPUs: runtime.NumCPU(), RAM: readRAM(), Packages: modules{}}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			info.Packages = append(info.Packages, m.Path+"@"+m.Version)
		}
	}
	return info, nil
}

// ram is the machine's memory in bytes, or why that is not known.
type ram struct {
	Free  int64  `json:"free,omitempty"`
	Used  int64  `json:"used,omitempty"`
	Total int64  `json:"total,omitempty"`
	Error string `json:"error,omitempty"`
}

type memoryReply struct {
	RAM  ram `json:"ram"`
	CUDA ram `json:"cuda"`
}

func (s *Server) memory(*http.Request) (memoryReply, error) {
	return memoryReply{readRAM(), ram{Error: "what cards have is not told here"}}, nil
}

// readRAM asks Linux.
func readRAM() (r ram) {
	unknown := ram{Error: fmt.Sprintf("what memory there is cannot be told on %s", runtime.GOOS)}
	all, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return unknown
	}
	own, err := os.ReadFile("/proc/self/statm")
	pages := strings.Fields(string(own))
	if err != nil || len(pages) < 2 {
		return unknown
	}
	resident, err := strconv.ParseInt(pages[1], 10, 64)
	if err != nil {
		return unknown
	}
	for line := range bytes.Lines(all) {
		var name string
		var kilobytes int64
		if n, _ := fmt.Sscan(string(line), &name, &kilobytes); n < 2 {
			continue
		}
		switch name {
		case "MemTotal:":
			r.Total = kilobytes << 10
		case "MemAvailable:":
			r.Free = kilobytes << 10
		}
	}
	r.Used = resident * int64(os.Getpagesize())
	return r
}
