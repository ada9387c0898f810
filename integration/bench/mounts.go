package main

import (
	"fmt"
	"os"
)

// access is a way to use a mounted disk.
type access struct {
	name  string
	image string
	fresh bool // the image is mounted anew for each round: what is written must be new
	needs int  // what must be given: needRoot, readOnly
	use   func(w *watch) error
}

const (
	needRoot = 1 << iota // only root may do it
	readOnly             // the image is mounted read-only
)

// mounts measures the mount against the FUSE export of qemu-storage-daemon.
func (b *bench) mounts() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		fmt.Println("no /dev/fuse: the mount is not measured")
		return nil
	}
	for first := 0; first < len(accesses); {
		end := first + 1
		for end < len(accesses) && accesses[end].image == accesses[first].image && accesses[end].fresh == accesses[first].fresh &&
			accesses[end].needs == accesses[first].needs {
			end++
		}
		if err := b.mountPair(accesses[first:end]); err != nil {
			return err
		}
		first = end
	}
	return nil
}

// mountPair runs the workloads of one image.
func (b *bench) mountPair(all []access) error {
	var list []access
	for _, a := range all {
		switch {
		case !b.wanted(a.name):
		case a.needs == needRoot && os.Geteuid() != 0:
			fmt.Printf("%-44s only for root\n", a.name)
		default:
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil
	}
	if err := b.make(list[0].image); err != nil {
		return err
	}
	if list[0].fresh {
		return b.mountFresh(list)
	}
	stock, err := b.present(list[0].image, "stock", b.exportStock)
	if err != nil {
		fmt.Printf("mount of %s: stock: %v\n", list[0].image, err)
		return nil
	}
	defer ended(stock)
	show := b.mountPlatter
	if list[0].needs == readOnly {
		show = b.mountReadOnly
	}
	ours, err := b.present(list[0].image, "platter", show)
	if err != nil {
		fmt.Printf("mount of %s: platter: %v\n", list[0].image, err)
		return nil
	}
	defer ended(ours)
	for _, a := range list {
		run := func(d disk) (sample, error) {
			w := watch{disk: d}
			err := a.use(&w)
			return w.sample, err
		}
		err := b.compare(a.name, [2]side{
			{"stock", func() (sample, error) { return run(stock) }},
			{"platter", func() (sample, error) { return run(ours) }},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func ended(d disk) {
	if err := d.end(); err != nil {
		fmt.Printf("unmount of %s: %v\n", d.path, err)
	}
}

// mountFresh mounts anew for each run.
func (b *bench) mountFresh(list []access) error {
	for _, a := range list {
		run := func(side string, show shows) func() (sample, error) {
			return func() (sample, error) {
				d, err := b.present(a.image, side, show)
				if err != nil {
					return sample{}, err
				}
				w := watch{disk: d}
				err = a.use(&w)
				if e := d.end(); err == nil {
					err = e
				}
				return w.sample, err
			}
		}
		err := b.compare(a.name, [2]side{{"stock", run("stock", b.exportStock)}, {"platter", run("platter", b.mountPlatter)}})
		if err != nil {
			return err
		}
	}
	return nil
}
