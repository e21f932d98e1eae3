// Draw is how a program of yours draws a picture: draw CHECKPOINT PROMPT PICTURE.png
package main

import (
	"context"
	"log"
	"os"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/sd"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: draw CHECKPOINT PROMPT PICTURE.png")
	}
	if err := draw(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func draw(ctx context.Context, checkpoint, prompt, picture string) error {
	dev, err := device.Open("auto", device.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	pipe, err := sd.Open(ctx, checkpoint, dev, sd.Options{})
	if err != nil {
		return err
	}
	defer pipe.Close()
	result, err := pipe.Generate(ctx, sd.Request{Prompt: prompt, Seed: 7})
	if err != nil {
		return err
	}
	return result.Pictures[0].Save(picture)
}
