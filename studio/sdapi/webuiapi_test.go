package sdapi_test

import (
	"cmp"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/atelier-go/atelier/studio/sdapi"
)

// TestWebUIAPI runs all of the client webuiapi, of the Python package index, against the tiny model. ATELIER_PYTHON names a Python that has
// it (testdata/requirements.txt); else it is python3.
func TestWebUIAPI(t *testing.T) {
	python := cmp.Or(os.Getenv("ATELIER_PYTHON"), "python3")
	if out, err := exec.Command(python, "-c", "import webuiapi").CombinedOutput(); err != nil {
		t.Skipf("no Python with webuiapi (pip install -r studio/sdapi/testdata/requirements.txt, and ATELIER_PYTHON): %v %.200s", err, out)
	}
	drawing(t)
	s := newStudio(t, sdapi.Options{}, nil)
	address, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "testdata/webuiapi_client.py", address.Port()).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
