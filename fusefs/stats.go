package fusefs

import (
	"os"
	"sync/atomic"

	"platter/formats/qobj"
)

// stats counts what happened to an image since it was mounted. Bytes, unless the name says otherwise.
type stats struct {
	reads, writes, flushes, errors atomic.Uint64 // requests
	read, written, zeroed          atomic.Uint64
	flushed                        atomic.Uint64 // the generation that the last flush covered
	durable                        atomic.Uint64 // written and zeroed bytes that it covered
	job                            atomic.Pointer[job]
}

// job is a long operation.
type job struct {
	command string
	percent atomic.Uint64 // hundredths of a percent
	cancel  func()
}

// dirty is how many bytes were changed and not flushed since.
func (img *image) dirty() uint64 {
	s := &img.stats
	return s.written.Load() + s.zeroed.Load() - min(s.durable.Load(), s.written.Load()+s.zeroed.Load())
}

// dict is the content of stats.json.
func (img *image) dict() *qobj.Dict {
	d := qobj.NewDict()
	s := &img.stats
	d.Set("pid", os.Getpid())
	d.Set("image", img.name)
	d.Set("format", img.node.Driver().Name)
	d.Set("read-only", img.readOnly)
	d.Set("virtual-size", img.node.Size())
	d.Set("read-requests", s.reads.Load())
	d.Set("read-bytes", s.read.Load())
	d.Set("write-requests", s.writes.Load())
	d.Set("write-bytes", s.written.Load())
	d.Set("zeroed-bytes", s.zeroed.Load())
	d.Set("flushes", s.flushes.Load())
	d.Set("errors", s.errors.Load())
	d.Set("dirty", img.gen.Load() != s.flushed.Load())
	d.Set("dirty-bytes", img.dirty())
	if j := s.job.Load(); j != nil {
		job := qobj.NewDict()
		job.Set("command", j.command)
		job.Set("percent", quarters(j.percent.Load()))
		d.Set("job", job)
	}
	return d
}

// quarters turns hundredths into a number that, unlike most with two digits, is exact in binary, too, and so is printed
// with no more.
func quarters(hundredths uint64) float64 { return float64(hundredths/25) / 4 }

func (img *image) statsText() ([]byte, error) {
	return append(qobj.AppendJSON(nil, img.dict(), true), '\n'), nil
}

// Figures gives the content of stats.json for all images.
func (m *Mount) Figures() []byte {
	var all []byte
	for _, img := range m.images() {
		b, _ := img.statsText()
		all = append(all, b...)
	}
	return all
}

// LogFigures writes them into each image's error_log.
func (m *Mount) LogFigures() {
	for _, img := range m.images() {
		img.log.add("%s", qobj.AppendJSON(nil, img.dict(), false))
	}
}
