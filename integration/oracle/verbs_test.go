package oracle

// verb is a row of the matrix: its options, for the usage cases, and the generator of its cases for a format.
type verb struct {
	name    string
	good    string // operands (and what options they need) that work in fixture std/qcow2
	options []verbOption
	cases   func(g *group, f format)
}

// verbOption is one option; bad is a value that is refused, "" if there is none (then value may be anything).
type verbOption struct {
	short, long string
	value, bad  string // value "" means that the option takes none
}

func flag2(short, long string) verbOption { return verbOption{short: short, long: long} }

func with(short, long, value, bad string) verbOption {
	return verbOption{short: short, long: long, value: value, bad: bad}
}

// Options that several verbs have.
var (
	optHelp   = flag2("-h", "--help")
	optQuiet  = flag2("-q", "--quiet")
	optProg   = flag2("-p", "--progress")
	optShare  = flag2("-U", "--force-share")
	optImage  = flag2("", "--image-opts")
	optFormat = with("-f", "--format", "qcow2", "nosuch")
	optOutput = with("", "--output", "json", "yaml")
	optObject = with("", "--object", "secret,id=s,data=x", "nosuch,id=s")
)

func optCache(short string) verbOption { return with(short, "--cache", "none", "nosuch") }

var verbs = []verb{
	{"amend", "-o lazy_refcounts=on disk.qcow2", []verbOption{optHelp, optQuiet, optProg, optFormat, optImage, optCache("-t"),
		flag2("", "--force"), optObject, with("-o", "--options", "compat=v3", "nosuch=1")}, amendCases},
	{"bench", "-c 4 disk.qcow2", []verbOption{optHelp, optQuiet, optFormat, optImage, optCache("-t"),
		with("-c", "--count", "3", "x"), with("-s", "--buffer-size", "4k", "x"), with("-d", "--depth", "2", "x"),
		with("-o", "--offset", "64k", "x"), with("-S", "--step-size", "8k", "x"), with("-i", "--aio", "threads", "nosuch"),
		flag2("-n", "--native"), flag2("-w", "--write"), with("", "--pattern", "3", "300"),
		with("", "--flush-interval", "2", "x"), flag2("", "--no-drain"), optShare}, benchCases},
	{"bitmap", "--add disk.qcow2 b", []verbOption{optHelp, optFormat, optImage, flag2("", "--add"),
		with("-g", "--granularity", "64k", "x"), flag2("", "--remove"), flag2("", "--clear"), flag2("", "--enable"),
		flag2("", "--disable"), with("", "--merge", "other", ""), with("-b", "--source-file", "copy.qcow2", ""),
		with("-F", "--source-format", "qcow2", "nosuch"), optObject}, bitmapCases},
	{"check", "disk.qcow2", []verbOption{optHelp, optQuiet, optFormat, optImage, optCache("-T"), optShare, optOutput,
		with("-r", "--repair", "leaks", "nosuch"), optObject}, checkCases},
	{"commit", "disk.qcow2", []verbOption{optHelp, optQuiet, optProg, optFormat, optImage, optCache("-t"),
		flag2("-d", "--drop"), with("-b", "--base", "plain.raw", ""), with("-r", "--rate", "1G", "x"), optObject}, commitCases},
	{"compare", "disk.qcow2 copy.qcow2", []verbOption{optHelp, optQuiet, optProg, with("-f", "--a-format", "qcow2", "nosuch"),
		with("-F", "--b-format", "qcow2", "nosuch"), optImage, flag2("-s", "--strict"), optCache("-T"), optShare, optObject},
		compareCases},
	{"convert", "disk.qcow2 out.raw", []verbOption{optHelp, optQuiet, optProg,
		with("-f", "--source-format", "qcow2", "nosuch"), flag2("", "--source-image-opts"), optImage,
		with("-l", "--source-snapshot", "nosuch", ""), with("-T", "--source-cache", "none", "nosuch"),
		with("-O", "--target-format", "qcow2", "nosuch"), flag2("", "--target-image-opts"),
		with("-o", "--target-options", "size=4M", "nosuch=1"), flag2("-c", "--compress"),
		with("-t", "--target-cache", "none", "nosuch"), with("-B", "--backing", "plain.raw", ""),
		with("-F", "--backing-format", "raw", "nosuch"), flag2("-n", "--no-create"), flag2("", "--target-is-zero"),
		with("-S", "--sparse-size", "4k", "x"), flag2("", "--bitmaps"), flag2("", "--skip-broken-bitmaps"), optShare,
		with("-r", "--rate", "1G", "x"), with("-m", "--parallel", "4", "99"), flag2("-C", "--copy-range-offloading"),
		flag2("", "--salvage"), flag2("-W", "--oob-writes"), optObject}, convertCases},
	{"create", "-f qcow2 new.qcow2 1M", []verbOption{optHelp, optQuiet, optFormat,
		with("-o", "--options", "lazy_refcounts=on", "nosuch=1"), with("-b", "--backing", "plain.raw", "nosuch.raw"),
		with("-F", "--backing-format", "raw", "nosuch"), flag2("-u", "--backing-unsafe"), optObject}, createCases},
	{"dd", "if=disk.qcow2 of=out.raw", []verbOption{optHelp, optFormat, optImage,
		with("-O", "--output-format", "qcow2", "nosuch"), optShare, optObject}, ddCases},
	{"info", "disk.qcow2", []verbOption{optHelp, optFormat, optImage, flag2("-b", "--backing-chain"), optShare, optObject,
		optOutput}, infoCases},
	{"map", "disk.qcow2", []verbOption{optHelp, optFormat, optImage, with("-s", "--start-offset", "1M", "x"),
		with("-l", "--max-length", "1M", "x"), optOutput, optShare, optObject}, mapCases},
	{"measure", "disk.qcow2", []verbOption{optHelp, with("-O", "--target-format", "qcow2", "nosuch"),
		with("-s", "--size", "1G", "x"), optFormat, optImage, with("-l", "--snapshot", "nosuch", ""),
		with("-o", "--target-options", "cluster_size=4k", "nosuch=1"), optOutput, optShare, optObject}, measureCases},
	{"rebase", "-u -b '' disk.qcow2", []verbOption{optHelp, optQuiet, optProg, optFormat, optImage, optCache("-t"),
		with("-b", "--backing", "plain.raw", "nosuch.raw"), with("-F", "--backing-format", "raw", "nosuch"),
		with("-T", "--backing-cache", "none", "nosuch"), flag2("-u", "--backing-unsafe"), flag2("-c", "--compress"),
		optShare, optObject}, rebaseCases},
	{"resize", "disk.qcow2 8M", []verbOption{optHelp, optQuiet, optFormat, optImage, flag2("", "--shrink"),
		with("", "--preallocation", "metadata", "nosuch"), optObject}, resizeCases},
	{"snapshot", "-l disk.qcow2", []verbOption{optHelp, optQuiet, optFormat, optImage, optShare, optObject,
		flag2("-l", "--list"), with("-c", "--create", "one", ""), with("-a", "--apply", "nosuch", ""),
		with("-d", "--delete", "nosuch", "")}, snapshotCases},
}
