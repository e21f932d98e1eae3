// Studio serves a page to make portraits, draw and train on, in the browser, with the web UI's API for the programs that speak it.
//
//	go run ./examples/studio
//	go run ./examples/studio -webui-dir ~/stable-diffusion-webui
//	go run ./examples/studio -listen :7860
//
// Without a checkpoint of one's own it uses the tiny portrait model built into the program.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/atelier-go/atelier/examples/internal/cli"
)

func main() {
	cli.Main("studio", run)
}

const usage = `studio serves a page to make portraits, draw and train on. -h all lists all flags.

  studio -webui-dir ~/stable-diffusion-webui      uses the models, styles and outputs that are there
  studio -ckpt-dir ~/models -lora-dir ~/loras     uses models from anywhere
  studio -listen :7860                            serves other machines too, who need the token that is printed
`

// run serves until ctx is done; where the page is goes to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	var o options
	f := o.flags(log)
	if err := f.Parse(args, 0); err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	if o.found != "" {
		fmt.Fprintf(log, "the models of %s are used in place; -webui-dir none leaves them\n", o.found)
	}
	if err := o.makeRoom(); err != nil {
		fmt.Fprintln(log, "other programs have to share the processors with it as with any other:", err)
	}
	for {
		if again, err := o.serve(ctx, out, log); !again || err != nil {
			return err
		}
	}
}
