package sdapi

import (
	"bytes"
	"errors"

	"github.com/atelier-go/atelier/sd/infotext"
)

// tools are the routes that look at pictures, and those that are refused.
func (s *Server) tools() []route {
	const training = "LoRAs are trained on the page Train, or with examples/train-lora"
	return []route{
		post(s, "/sdapi/v1/png-info", "Reads what a picture says of how it was made.", true, s.pngInfo),
		command(s, "/sdapi/v1/interrogate", "Refused: nothing here describes pictures.", unable("interrogate", "there is no CLIP interrogator or DeepBooru")),
		command(s, "/sdapi/v1/create/embedding", "Refused.", unable("create/embedding", training)),
		command(s, "/sdapi/v1/create/hypernetwork", "Refused.", unable("create/hypernetwork", training)),
		command(s, "/sdapi/v1/train/embedding", "Refused.", unable("train/embedding", training)),
		command(s, "/sdapi/v1/train/hypernetwork", "Refused.", unable("train/hypernetwork", training)),
	}
}

// imageQuery is what POST /sdapi/v1/png-info takes.
type imageQuery struct {
	Image string `json:"image" required:"yes" doc:"base64, with or without data:…,"`
}

// imageInfo is what a picture says.
type imageInfo struct {
	Info       string              `json:"info" doc:"the text of how it was made"`
	Items      map[string]string   `json:"items" doc:"what else it says, by key"`
	Parameters infotext.Parameters `json:"parameters" doc:"what stands in the text, by the web UI's keys"`
}

func (s *Server) pngInfo(r request[imageQuery]) (*imageInfo, error) {
	file, err := readFile("image", r.body.Image)
	if err != nil {
		return nil, err
	}
	answer := &imageInfo{Items: make(map[string]string), Parameters: infotext.Parameters{}}
	meta, err := infotext.Extract(bytes.NewReader(file))
	if errors.Is(err, infotext.ErrFormat) {
		// What is a picture of another kind says nothing; what is none is refused.
		_, _, err := readImage(r.Context(), "image", r.body.Image)
		return answer, err
	}
	if err != nil {
		return nil, faulty([]Fault{fault("image", "value_error", "Invalid encoded image: %v", err)})
	}
	answer.Info = meta.Infotext()
	for _, e := range meta.Entries {
		if e.Key != "parameters" {
			answer.Items[e.Key] = e.Text
		}
	}
	if answer.Info != "" {
		answer.Parameters = infotext.Parse(answer.Info).Parameters(s.options.Library.Styles(), infotext.StylesMode(s.options.Library.Settings().Text("infotext_styles")))
	}
	return answer, nil
}
