package engine

import (
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/weights"
)

// TestInpaintingConfig looks at the channels that a UNet without a configuration is found to read.
func TestInpaintingConfig(t *testing.T) {
	for channels, want := range map[int]int{4: 4, 9: 9, 8: 4} {
		path := filepath.Join(t.TempDir(), "unet.safetensors")
		data := make([]byte, 2*320*channels*9)
		if err := weights.Write(path, []weights.Tensor{{Name: "conv_in.weight", DType: weights.F16, Shape: []int{320, channels, 3, 3}, Data: data}}, nil); err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c, err := f.Component(weights.KindUNet, func(key string) string { return key })
		if err != nil {
			t.Fatal(err)
		}
		n := &Networks{Components: map[weights.Kind]*weights.Component{weights.KindUNet: c}}
		if got, err := n.unetConfig(nil); err != nil || got.InChannels != want {
			t.Errorf("weights of %d channels: %d, want %d; %v", channels, got.InChannels, want, err)
		}
	}
}
