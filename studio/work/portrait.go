package work

import (
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/portrait"
)

// Portrait asks for portraits of the person in photos. Results come as its stages are done: check.json, the photos with what was found;
// likeness.json, what was tried; candidates/*.png and refined/*.png as they are drawn; linkedin.png, cv.png and all other files of a
// portrait.Result; and NAME.safetensors. What is needed to go on is kept, so that another worker does.
type Portrait struct {
	Checkpoint string `json:"checkpoint,omitzero"` // as Draw.Checkpoint
	// Photos are names of files in the queue's store, as PutInput gives them; captions are text files beside them. Folder is one on the machine
	// of the worker instead.
	Photos []string `json:"photos,omitempty"`
	Folder string   `json:"folder,omitzero"`
	// Config is what is wanted; folders, and what computes, are not its business.
	Config portrait.Config `json:"config"`
	// Epochs and Repeats are in place of portrait.Recipe's, if they are not 0.
	Epochs  int `json:"epochs,omitzero"`
	Repeats int `json:"repeats,omitzero"`

	Save bool `json:"save,omitzero"` // Collect puts the LoRA into the library's folder, and the finished portraits among the outputs
}

// Kind implements Request.
func (Portrait) Kind() string { return PortraitKind }

// inputs implements Request.
func (p Portrait) inputs() []string { return p.Photos }

// Check implements Request. What is wrong with Portrait.Config the job itself says.
func (p Portrait) Check() error {
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Portrait."+field, value, want, args...))
		}
	}
	check(len(p.Photos) <= 2*portrait.MaxPhotos, "Photos", len(p.Photos), "up to %d photos and captions", 2*portrait.MaxPhotos)
	check((len(p.Photos) > 0) != (p.Folder != ""), "Photos", len(p.Photos), "photos, or a folder of them")
	check(p.Epochs >= 0 && p.Epochs <= 1000, "Epochs", p.Epochs, "0 to 1000")
	check(p.Repeats >= 0 && p.Repeats <= 1000, "Repeats", p.Repeats, "0 to 1000")
	return invalid.Join(append(errs, checkInputs("Portrait.Photos", p.Photos...))...)
}
