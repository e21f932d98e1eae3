// Serve draws what a POST of an sd.Request as JSON to http://localhost:8080 asks for: serve CHECKPOINT
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/sd"
)

func main() {
	dev, err := device.Open("auto", device.Options{})
	if err != nil {
		log.Fatal(err)
	}
	pipe, err := sd.Open(context.Background(), os.Args[len(os.Args)-1], dev, sd.Options{})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", handler(pipe)))
}

func handler(pipe *sd.Pipeline) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request sd.Request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if result, err := pipe.Generate(r.Context(), request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err := result.Pictures[0].Encode(w); err != nil {
			log.Print(err)
		}
	}
}
