package hub_test

import (
	"fmt"

	"github.com/atelier-go/atelier/weights/hub"
)

func ExampleIsID() {
	fmt.Println(hub.IsID("runwayml/stable-diffusion-v1-5"), hub.IsID("models/v1-5.safetensors"), hub.IsID("C:\\models"))
	// Output: true false false
}
