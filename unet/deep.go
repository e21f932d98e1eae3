package unet

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// Layers is how many layers the up blocks have together, each of which reads a skip connection: as many as there are places to cut.
func (m *Model) Layers() int { return len(m.UpBlocks) * (m.config.LayersPerBlock + 1) }

// ForwardDeep is [Model.Forward] and also returns what comes from below into a layer of the up blocks, counted from the output, 1 to
// Layers: [K·N,h,w,C] as DeepShape tells. It changes little from step to step, so that [Model.ForwardShallow] may use it again:
// Ma et al., "DeepCache" (arXiv:2312.00858), whose branches count from 0.
func (m *Model) ForwardDeep(b *compute.Builder, sample compute.Value, c Conditioning, layer int) (y, deep compute.Value) {
	run := &pass{cut: layer}
	m.checkLayer(b, layer)
	y = m.forward(b, sample, c, run)
	return y, run.deep
}

// ForwardShallow is [Model.Forward] with everything below a layer left out, in whose place is what an earlier ForwardDeep returned. Of the
// conditioning only what belongs to the rest is read.
func (m *Model) ForwardShallow(b *compute.Builder, sample, deep compute.Value, c Conditioning, layer int) compute.Value {
	m.checkLayer(b, layer)
	return m.forward(b, sample, c, &pass{cut: layer, deep: deep, shallow: true})
}

func (m *Model) checkLayer(b *compute.Builder, layer int) {
	if layer < 1 || layer > m.Layers() {
		b.Fail(fmt.Errorf("unet: cut at layer %d, the up blocks have layers 1 to %d", layer, m.Layers()))
	}
}

// DeepShape is the size and the channels of what ForwardDeep returns for latents of a size.
func (m *Model) DeepShape(layer, height, width int) (h, w, channels int) {
	each := m.config.LayersPerBlock + 1
	level := (layer - 1) / each
	for range level {
		height, width = (height+1)/2, (width+1)/2
	}
	if from := m.config.BlockOutChannels; layer%each == 0 {
		channels = from[min(level+1, len(from)-1)] // the block below made it
	} else {
		channels = from[level]
	}
	return height, width, channels
}
