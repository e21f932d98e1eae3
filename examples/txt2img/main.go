// Txt2img makes a picture from a prompt and writes it as PNG, with its parameters inside for the web UI's "PNG Info".
//
//	go run ./examples/txt2img -prompt "portrait of a woman, red hair, glasses"
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -prompt "a lighthouse at dawn" -seed 7
//	go run ./examples/txt2img -model v1-5-pruned-emaonly.safetensors -preset cv -prompt "photo of personname man, <lora:personname_lora_v1:0.6>"
//
// Without -model it uses the tiny portrait model built into the program.
package main

import (
	"context"
	"io"

	"github.com/atelier-go/atelier/examples/internal/cli"
)

func main() {
	cli.Main("txt2img", run)
}

const usage = `txt2img makes a picture from a prompt. -h all lists all flags.

  txt2img -prompt "portrait of a woman, red hair, glasses"
  txt2img -model v1-5-pruned-emaonly.safetensors -preset cv -prompt "portrait photo, soft light"
`

// run does what the command line asks for; the names of the pictures go to out, everything else to log.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, cli.RequestFlags) }()
	f, d := cli.NewFlags("txt2img", usage, log), new(cli.Drawing)
	d.Picture(f, "preset", "faces")
	d.Hires(f)
	d.Faces(f)
	d.Computing(f)
	if err := d.Parse(f, args); err != nil {
		return err
	}
	return d.Run(ctx, out, log)
}
