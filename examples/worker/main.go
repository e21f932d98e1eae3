// Worker does jobs of a studio on this machine: it takes what waits in the queue on a NATS server, draws, enlarges, trains and makes
// portraits, and stores what comes of it there.
//
//	go run ./examples/worker -nats nats://studio.example:4222 -ckpt-dir models
//	go run ./examples/worker -nats nats://studio.example:4222 -webui-dir stable-diffusion-webui -device cuda
//
// The studio runs with the same -nats; the server with JetStream: nats-server -js. Checkpoints are on the machines, under the same names, and
// a job whose checkpoint is not here is left to workers that have it; photos, LoRAs and pictures travel through the server. Stopped, it puts
// the job at hand back, and another one goes on with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/models"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

func main() {
	cli.Main("worker", func(ctx context.Context, args []string, _, log io.Writer) error { return run(ctx, args, log) })
}

const usage = `worker does jobs of a studio, whose queue is on a NATS server, on this machine.

  worker -nats nats://studio.example:4222 -ckpt-dir models
  worker -nats nats://studio.example:4222 -webui-dir stable-diffusion-webui -device cuda
`

// options is what the command line says.
type options struct {
	nats, name, dir string
	heartbeat       time.Duration
	library         library.Options
	device          cli.Device
}

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("worker", usage, log)
	f.StringVar(&o.nats, "nats", "", "`URL` of the NATS server with JetStream that keeps the queue; with a password or token, if it wants one")
	f.StringVar(&o.name, "name", "", "`TEXT` that people see of this worker (default: the machine's name)")
	f.StringVar(&o.dir, "work-dir", "", "`FOLDER` for what jobs have on disk while they run (default: one for temporary files)")
	f.DurationVar(&o.heartbeat, "heartbeat", 2*time.Second, "`TIME` between two signs of life, the same as the studio's; after five without one a job is given to another")
	f.Group("Queue", "nats", "name", "work-dir", "heartbeat")
	models.Define(f, &o.library)
	f.Device(&o.device)
	f.Precision(&o.device)
	f.Group("Computing", "device", "threads", "precision")
	if err := f.Parse(args, 0); err != nil {
		return o, err
	}
	switch {
	case o.nats == "":
		return o, errors.New("-nats is wanted: the address of the studio's NATS server, such as nats://studio.example:4222")
	case o.heartbeat < 10*time.Millisecond || o.heartbeat > time.Hour:
		return o, fmt.Errorf("-heartbeat is %v, want 10ms to 1h", o.heartbeat)
	}
	if o.name == "" {
		o.name, _ = os.Hostname()
	}
	return o, nil
}

// run works until ctx is done; what it does goes to log.
func run(ctx context.Context, args []string, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, models.Flags) }()
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	told := slog.New(slog.NewTextHandler(log, nil))
	lib, err := library.Open(o.library)
	if err != nil {
		return err
	}
	for _, err := range lib.Skipped() {
		told.Warn("a folder or file is left out", "error", err)
	}
	queue, err := jobs.Open(ctx, jobs.Options{URL: o.nats, Heartbeat: o.heartbeat, Logger: told})
	if err != nil {
		return fmt.Errorf("-nats: %w", err)
	}
	defer func() { err = errors.Join(err, queue.Close()) }()
	dev, err := o.device.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	machine := work.NewMachine(dev, lib, models.Machine(o.dir, told))
	defer func() { err = errors.Join(err, machine.Close()) }()
	told.Info("working", "name", o.name, "device", dev.Name(), "checkpoints", len(lib.Checkpoints()))
	if err := queue.Work(ctx, machine.Worker(o.name)); ctx.Err() == nil {
		return err
	}
	told.Info("told to stop; the job at hand is put back")
	return nil
}
