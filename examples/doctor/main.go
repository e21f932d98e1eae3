// Doctor says on one screen what this computer has to compute with: processor, NVIDIA's driver, cards and libraries, what fits on a card,
// and whether each device passes the self-test.
//
//	go run ./examples/doctor
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/cli"
)

func main() {
	cli.Main("doctor", func(_ context.Context, args []string, out, log io.Writer) error { return run(args, out, log) })
}

const usage = `doctor says what this computer has to compute with.

  doctor
  doctor -searched    where libraries were looked for, too
`

// run writes the report to out.
func run(args []string, out, log io.Writer) error {
	f := cli.NewFlags("doctor", usage, log)
	searched := f.Bool("searched", false, "tell where optional libraries were looked for")
	f.Group("Report", "searched")
	if err := f.Parse(args, 0); err != nil {
		return err
	}
	r := device.Examine()
	if _, err := fmt.Fprint(out, r); err != nil || !*searched {
		return err
	}
	for _, l := range r.CUDA.Libraries {
		if l.Err != nil {
			fmt.Fprintf(out, "\n%v\n", l.Err)
		}
	}
	return nil
}
