package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/models"
	"github.com/atelier-go/atelier/studio"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// house is what a studio is made of.
type house struct {
	queue   *jobs.Queue
	library *library.Library
	device  compute.Device
	machine *work.Machine
	pages   *studio.Server
	log     *slog.Logger
}

// serve runs the studio until ctx is done, or until a program asks for its end, and reports whether it is to begin anew.
func (o *options) serve(ctx context.Context, out, log io.Writer) (again bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	h := house{log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.open(ctx, o, end); err != nil {
		return false, err
	}
	page, err := net.Listen("tcp", o.listen)
	if err != nil {
		return false, fmt.Errorf("-listen: %w; is another studio, or the web UI, running? -listen 127.0.0.1:7870 takes another port", err)
	}
	fmt.Fprintln(out, o.address(page.Addr()))
	servers := []*http.Server{h.start(page, h.pages)}
	if train, err := net.Listen("tcp", trainAddress(o.listen)); err == nil {
		servers = append(servers, h.start(train, toTrain(h.pages)))
	}
	var working sync.WaitGroup
	working.Go(func() {
		name, _ := os.Hostname()
		if err := h.queue.Work(ctx, h.machine.Worker(name)); err != nil && ctx.Err() == nil {
			h.log.Error("no work is done any more", "error", err)
		}
	})
	working.Go(func() {
		if err := work.Collect(ctx, h.queue, h.library, h.log); ctx.Err() == nil {
			h.log.Error("what is drawn is not saved among the outputs", "error", err)
		}
	})
	working.Go(func() {
		kept := o.retention()
		kept.Needs = h.pages.Needs
		h.queue.Tend(ctx, kept)
	})
	<-ctx.Done()
	h.pages.Close()
	for _, s := range servers {
		s.Close() // what is asked for now can be asked for again
	}
	working.Wait()
	return errors.Is(context.Cause(ctx), errRestart), nil
}

// Why the studio ends when a program asks for it.
var (
	errStop    = errors.New("a program asked for the end")
	errRestart = errors.New("a program asked to begin anew")
)

// open opens all that there is; end ends it.
func (h *house) open(ctx context.Context, o *options, end context.CancelCauseFunc) (err error) {
	if h.library, err = library.Open(o.library); err != nil {
		return err
	}
	for _, skipped := range h.library.Skipped() {
		h.log.Warn("a folder or file is left out", "error", skipped)
	}
	if o.model != "" {
		if err := h.begin(o.model); err != nil {
			return err
		}
	}
	where := jobs.Options{URL: o.nats, Logger: h.log}
	if o.nats == "" {
		where.Dir = filepath.Join(o.library.DataDir, "queue")
	}
	if h.queue, err = jobs.Open(ctx, where); err != nil {
		return err
	}
	if h.device, err = o.device.Open(); err != nil {
		return err
	}
	h.machine = work.NewMachine(h.device, h.library, models.Machine(filepath.Join(o.library.DataDir, "work"), h.log))
	pages := studio.Options{
		Queue: h.queue, Library: h.library, Machine: h.machine, Examine: func() string { return device.Examine().String() },
		APIAuth: o.auth, Flags: o.webUIFlags(), Token: o.token, Hosts: o.hosts, Logger: h.log,
	}
	if o.stop {
		pages.Stop = func(restart bool) {
			if restart {
				end(errRestart)
			}
			end(errStop) // which says nothing after the other
		}
	}
	h.pages, err = studio.New(pages)
	return err
}

// begin makes a checkpoint that of the settings.
func (h *house) begin(model string) error {
	name := model
	if _, err := os.Stat(model); err == nil {
		name = filepath.Base(model)
	}
	c, err := h.library.Checkpoint(name)
	if err != nil {
		return fmt.Errorf("-model: %w", err)
	}
	return h.library.Settings().Set(map[string]any{"sd_model_checkpoint": c.Title})
}

// close gives everything back, what was opened last first.
func (h *house) close() error {
	var errs []error
	if h.pages != nil {
		errs = append(errs, h.pages.Close())
	}
	if h.machine != nil {
		errs = append(errs, h.machine.Close())
	}
	if h.device != nil {
		errs = append(errs, h.device.Close())
	}
	if h.queue != nil {
		errs = append(errs, h.queue.Close())
	}
	return errors.Join(errs...)
}

// start serves a handler. Bodies may be long in coming and answers long in going, but whoever connects says soon what is wanted.
func (h *house) start(l net.Listener, handler http.Handler) *http.Server {
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug)}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("the page is not served any more", "address", l.Addr(), "error", err)
		}
	}()
	return s
}

// address is where a browser finds the page, with the token.
func (o *options) address(a net.Addr) string {
	host, port, _ := net.SplitHostPort(a.String())
	if given, _, _ := net.SplitHostPort(o.listen); given == "" || net.ParseIP(host).IsUnspecified() {
		if host = "127.0.0.1"; len(o.hosts) > 0 {
			host = o.hosts[0]
		}
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/"}
	if o.token != "" {
		u.RawQuery = url.Values{"token": {o.token}}.Encode()
	}
	return u.String()
}

// trainAddress is where kohya's page used to be, on the same host.
func trainAddress(listen string) string {
	host, port, _ := net.SplitHostPort(listen)
	if port == "0" {
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, "7861")
}

// toTrain shows the room Train first.
func toTrain(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && r.URL.RawQuery == "" {
			http.Redirect(w, r, "/train", http.StatusSeeOther)
			return
		}
		pages.ServeHTTP(w, r)
	})
}
