package oracle

import "strings"

// Key slots of a LUKS header inside of qcow2. In the fixture keys/qcow2, hunter2 opens slot 0 of one.qcow2, and of
// two.qcow2 whose slots 1 and 5 "other" opens; full.qcow2 has no free slot, twice.qcow2 hunter2 in both its slots,
// none.qcow2 no active slot.

const (
	keyObjects = "--object secret,id=sec0,data=hunter2 --object secret,id=new,data=other --object secret,id=third,data=third "
	addNew     = "encrypt.state=active,encrypt.new-secret=new,encrypt.iter-time=10"
)

// keySteps make the fixture.
func keySteps() string {
	steps := []string{"qemu-img create -q -f raw plain.raw 1M", "qemu-img create -q -f qcow2 plain.qcow2 1M",
		"qemu-io -f raw -c 'write -P 0x11 0 64k' plain.raw"}
	for file, format := range map[string]string{"aes": "aes", "one": "luks,encrypt.iter-time=10"} {
		steps = append(steps, "qemu-img create -q "+keyObjects+"-f qcow2 -o encrypt.key-secret=sec0,encrypt.format="+format+" "+file+".qcow2 1M",
			"qemu-io "+keyObjects+"--image-opts -c 'write -P 0x11 0 64k' "+keyOpts(file, "sec0"))
	}
	for _, file := range words("two full twice none") {
		steps = append(steps, "copy one.qcow2 "+file+".qcow2")
	}
	amend := func(file, opts string) {
		steps = append(steps, "qemu-img amend "+keyObjects+"--force --image-opts -o encrypt.state="+opts+" "+keyOpts(file, "sec0"))
	}
	const add = "active,encrypt.iter-time=10,encrypt.new-secret="
	amend("two", add+"new,encrypt.keyslot=1")
	amend("two", add+"new,encrypt.keyslot=5")
	amend("twice", add+"sec0")
	for range 7 {
		amend("full", add+"third")
	}
	amend("none", "inactive,encrypt.keyslot=0")
	return strings.Join(steps, "\n")
}

// keyOpts is how a tool opens an image of the fixture with a secret.
func keyOpts(file, id string) string {
	return "driver=qcow2,encrypt.key-secret=" + id + ",file.filename=" + file + ".qcow2"
}

// keyChanges are options of amend by the image, without "encrypt." in front, but for those from a "+" on. A list that
// begins with ! is tried with --force too.
var keyChanges = map[string]string{
	"one": `
		state=bad
		state
		state=
		state=active
		state=inactive
		new-secret=new
		keyslot=1
		iter-time=10
		old-secret=sec0
		state=active,new-secret=new,iter-time=10
		!state=active,new-secret=new,keyslot=0,iter-time=10
		state=active,new-secret=third,keyslot=7,iter-time=10
		!state=active,new-secret=new,keyslot=8
		state=active,new-secret=new,keyslot=-1
		state=active,new-secret=new,keyslot=4294967295
		state=active,new-secret=new,keyslot=x
		state=active,new-secret=new,iter-time=x
		state=active,new-secret=new,iter-time=0
		state=active,new-secret=nosuch,iter-time=10
		state=active,new-secret=,iter-time=10
		state=active,new-secret=sec0,iter-time=10
		state=active,new-secret=new,old-secret=sec0,iter-time=10
		state=active,keyslot=1
		!state=inactive,keyslot=0
		!state=inactive,keyslot=1
		!state=inactive,keyslot=8
		state=inactive,keyslot=-1
		!state=inactive,old-secret=sec0
		!state=inactive,old-secret=new
		state=inactive,old-secret=nosuch
		!state=inactive,keyslot=0,old-secret=new
		state=inactive,keyslot=0,old-secret=sec0
		state=inactive,keyslot=0,iter-time=10
		state=inactive,keyslot=0,new-secret=new
		state=inactive,iter-time=10,new-secret=new
		format=luks
		key-secret=sec0
		cipher-alg=aes-128
		nosuch=1
		state=active,new-secret=new,iter-time=10,+size=8M
		state=active,new-secret=new,iter-time=10,+size=1M
		state=active,new-secret=new,iter-time=10,+lazy_refcounts=on
		state=active,new-secret=new,iter-time=10,+refcount_bits=64
		state=active,new-secret=new,iter-time=10,+compat=0.10
		state=active,new-secret=new,iter-time=10,+compat=v9
		state=active,new-secret=new,iter-time=10,+backing_file=x
		state=active,new-secret=new,keyslot=9,+refcount_bits=8
		state=inactive,keyslot=0,+size=8M`,
	"two": `
		state=inactive,keyslot=0
		!state=inactive,keyslot=1
		state=inactive,keyslot=3
		state=inactive,old-secret=sec0
		state=inactive,old-secret=new
		state=inactive,old-secret=third
		state=inactive,keyslot=1,old-secret=sec0
		state=inactive,keyslot=5,old-secret=new
		state=active,new-secret=third,iter-time=10
		!state=active,new-secret=third,keyslot=5,iter-time=10
		state=inactive,old-secret=new,+size=8M,lazy_refcounts=on`,
	"full": `
		!state=active,new-secret=new,iter-time=10
		!state=active,new-secret=new,keyslot=3,iter-time=10
		state=inactive,keyslot=3
		state=inactive,old-secret=third
		!state=inactive,old-secret=sec0`,
	"twice": `
		!state=inactive,old-secret=sec0
		state=inactive,keyslot=0
		state=inactive,keyslot=1,old-secret=sec0`,
	"none": `
		state=active,new-secret=new,iter-time=10
		state=inactive,keyslot=0`,
	"aes": `
		state=active,new-secret=new,iter-time=10
		state=inactive,keyslot=0`,
}

// keyCases change key slots. What is left of them shows in what info says of the slots, and in whom the image opens for:
// with each secret, the content is compared with what it was.
func keyCases(g *group) {
	for _, file := range words("one two full twice none aes") {
		for _, line := range strings.Fields(keyChanges[file]) {
			line, forced := strings.CutPrefix(line, "!")
			modes := []string{"", "--force "}
			if !forced {
				modes = modes[:1]
			}
			var opts []string
			prefix := "encrypt."
			for _, o := range strings.Split(line, ",") {
				if rest, ok := strings.CutPrefix(o, "+"); ok {
					prefix, o = "", rest
				}
				opts = append(opts, prefix+o)
			}
			for _, mode := range modes {
				g.cases = append(g.cases, keyCase(file, mode+"-o "+strings.Join(opts, ",")))
			}
		}
	}
	for _, line := range []string{
		"amend -o " + addNew + " --image-opts " + keyOpts("one", "new") + " " + keyObjects,
		"amend -o " + addNew + " --image-opts " + keyOpts("one", "nosuch") + " " + keyObjects,
		"amend -o " + addNew + " one.qcow2 " + keyObjects,
		"amend -o encrypt.state=inactive,encrypt.keyslot=1 two.qcow2",
		"amend -p -o " + addNew + " --image-opts " + keyOpts("one", "sec0") + " " + keyObjects,
		"amend -o encrypt.state=inactive,encrypt.old-secret=sec0 --image-opts " + keyOpts("two", "new") + " " + keyObjects,
		"amend -o encrypt.state=inactive,encrypt.keyslot=0 plain.qcow2",
	} {
		g.add("keys/qcow2", false, line)
	}
}

func keyCase(file, opts string) testCase {
	c := testCase{fixture: "keys/qcow2", cmds: []string{
		"amend " + opts + " --image-opts " + keyOpts(file, "sec0") + " " + keyObjects,
		"info " + file + ".qcow2",
	}}
	for _, id := range words("sec0 new third") {
		c.cmds = append(c.cmds, "compare "+keyObjects+"--image-opts "+keyOpts(file, id)+" driver=raw,file.filename=plain.raw")
	}
	return c
}
