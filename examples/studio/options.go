package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/models"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// options is what the command line says.
type options struct {
	library library.Options
	found   string // the installation that is used because it is in the home folder
	device  cli.Device
	model   string   // a path, or the name of a checkpoint
	listen  string   // the address of the page
	token   string   // that requests must show
	hosts   []string // further names of this machine
	auth    []string // pairs of user and password for the web UI's API
	nats    string   // the address of a server for the queue
	verbose bool     // every request is told
	stop    bool     // programs may end this one
	days    int      // for which jobs that ended are kept; 0 is for ever
	room    float64  // gigabytes for jobs that ended; 0 is no bound
}

// flags defines the flags.
func (o *options) flags(log io.Writer) *cli.Flags {
	f := cli.NewFlags("studio", usage, log)
	f.StringVar(&o.model, "model", "", "`NAME` checkpoint to begin with: a path, or a name in -ckpt-dir (default: the last one, else the built-in tiny model)")
	models.Define(f, &o.library, "model")

	f.StringVar(&o.library.DataDir, "data-dir", "", "`FOLDER` for pictures, settings, the queue, and models in folders as the web UI has them (default: Atelier in the home folder)")
	f.StringVar(&o.library.OutputDir, "output-dir", "", "`FOLDER` for pictures alone")
	f.StringVar(&o.nats, "nats", "", "`URL` of a NATS server with JetStream that keeps the queue, for several machines: see examples/worker")
	f.IntVar(&o.days, "keep-days", 30, "`N` days for which jobs that ended, and what they left, stay in the queue; 0 is for ever. Outputs stay, and so do portraits that have their page")
	f.Float64Var(&o.room, "keep-gb", 20, "`N` gigabytes that jobs in the queue may take; beyond, those that ended first go; 0 is no bound")
	f.Group("Files", "data-dir", "output-dir", "keep-days", "keep-gb", "nats")

	f.StringVar(&o.listen, "listen", "127.0.0.1:7860", "`ADDRESS` of the page; :7860 is for other machines too")
	f.StringVar(&o.token, "token", "", "`TEXT` that browsers and programs must show, 16 characters or more; also $ATELIER_TOKEN (default with -listen to others: a new one each time)")
	f.Func("host", "`NAME` under which browsers reach this machine; repeat it for several", func(name string) error {
		o.hosts = append(o.hosts, name)
		return nil
	})
	f.Func("api-auth", "`USER:PASSWORD` for the web UI's API, in place of the token; repeat it for several", func(pairs string) error {
		for pair := range strings.SplitSeq(pairs, ",") {
			if user, password, ok := strings.Cut(pair, ":"); !ok || user == "" || password == "" {
				return errors.New("want USER:PASSWORD")
			}
			o.auth = append(o.auth, pair)
		}
		return nil
	})
	f.BoolVar(&o.stop, "api-server-stop", false, "let programs end the studio, or begin it anew, as with the web UI")
	f.BoolVar(&o.verbose, "verbose", false, "tell every request")
	f.Group("Page", "listen", "token", "host", "api-auth", "api-server-stop", "verbose")

	f.Device(&o.device)
	f.Precision(&o.device)
	f.Group("Computing", "device", "threads", "precision")
	return f
}

// complete fills in what is not given.
func (o *options) complete() error {
	if o.library.DataDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("-data-dir is wanted: %w", err)
		}
		o.library.DataDir = filepath.Join(home, "Atelier")
		if o.library.WebUI == "" {
			o.library.WebUI = library.Installation(filepath.Join(home, "stable-diffusion-webui"), filepath.Join(home, "stable-diffusion-webui-forge"), filepath.Join(home, "ComfyUI"))
			o.found = o.library.WebUI
		}
	}
	if o.library.WebUI == "none" {
		o.library.WebUI = ""
	}
	if o.days < 0 || !(o.room >= 0) {
		return fmt.Errorf("-keep-days %d, -keep-gb %g: want 0 or more", o.days, o.room)
	}
	if o.token == "" {
		o.token = os.Getenv("ATELIER_TOKEN")
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w; want an address such as 127.0.0.1:7860 or :7860", err)
	}
	if o.token == "" && !isLoopback(host) {
		o.token = rand.Text()
	}
	if _, err := os.Stat(o.model); err == nil && o.library.CheckpointDir == "" {
		o.library.CheckpointDir = filepath.Dir(o.model)
	}
	return nil
}

// retention is how long what is in the queue stays there.
func (o *options) retention() jobs.Retention {
	return jobs.Retention{Age: time.Duration(o.days) * 24 * time.Hour, Bytes: int64(o.room * 1e9), Inputs: work.Inputs}
}

// webUIFlags are the flags by the web UI's names. Secrets are none of anybody's business.
func (o *options) webUIFlags() map[string]any {
	host, port, _ := net.SplitHostPort(o.listen)
	number, _ := strconv.Atoi(port)
	return map[string]any{
		"listen": !isLoopback(host), "port": number, "server_name": host, "api_server_stop": o.stop, "api_log": o.verbose, "ckpt": o.model,
	}
}

// isLoopback reports whether only this machine reaches a host.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
