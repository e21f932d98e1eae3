package device_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/device"
)

func ExampleOpen() {
	dev, err := device.Open("auto", device.Options{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	fmt.Println(strings.HasPrefix(dev.Name(), "cpu"))
	// Output: true
}

func TestOpen(t *testing.T) {
	for _, name := range []string{"", "auto", "cpu"} {
		dev, err := device.Open(name, device.Options{})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if err := dev.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
	}
	for _, name := range []string{"cuda:0", "gpu"} {
		if _, err := device.Open(name, device.Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: the error %v does not name the device", name, err)
		}
	}
	if _, err := device.Open("cpu", device.Options{Workers: -1}); err == nil || !strings.Contains(err.Error(), "Workers") {
		t.Errorf("Workers -1: the error %v does not name the option", err)
	}
}
