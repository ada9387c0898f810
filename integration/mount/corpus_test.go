package mount

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpusCase is what this test reads of an image of the corpus.
type corpusCase struct {
	ID, Format, Image, Expect string
	Sum                       string `json:"raw_sha256"`
	Size                      int64  `json:"raw_size"`
	Files                     []struct{ Unpack string }
	Prep                      []string
	Options                   []string
}

// corpus is the directory of the images that other programs made.
func corpus() string {
	if dir := os.Getenv("PLATTER_CORPUS"); dir != "" {
		return dir
	}
	return "../../../shared/corpus"
}

// Images that other programs made read to their known sums through the mount, too.
func TestCorpusThroughTheMount(t *testing.T) {
	dir := corpus()
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	var manifest struct{ Cases []corpusCase }
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	help, _, _ := try(t, platter, "--help")
	_, formats, _ := strings.Cut(help, "image formats:")
	formats = " " + strings.Join(strings.Fields(formats), " ") + " "
	for _, c := range manifest.Cases {
		if c.Expect != "ok" || c.Sum == "" || c.Size > 64<<20 || len(c.Prep) > 0 {
			continue
		}
		t.Run(c.Format+"/"+c.ID, func(t *testing.T) {
			image := filepath.Join(dir, c.Image)
			if _, err := os.Stat(image); err != nil {
				t.Skip("it is packed")
			}
			if !strings.Contains(formats, " "+c.Format+" ") {
				t.Skipf("this build has no driver %s", c.Format)
			}
			if image, err = filepath.Abs(image); err != nil {
				t.Fatal(err)
			}
			mnt := mountAt(t, "-r", "-o", "format="+c.Format, image)
			if got := sum(t, filepath.Join(mnt, "disk.raw")); got != c.Sum {
				t.Errorf("sha256 %s, want %s", got, c.Sum)
			}
			unmount(t, mnt)
		})
	}
}
