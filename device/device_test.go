package device_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/invalid"
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
	_, err := device.Open("cpu", device.Options{Workers: -1, Precision: 7})
	fields := invalid.Fields(err)
	if len(fields) != 2 || fields[0].Field != "Options.Workers" || fields[1].Field != "Options.Precision" {
		t.Errorf("Workers -1, Precision 7: the error %v does not name the options", err)
	}
}
