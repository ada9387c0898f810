package verb

var bench = Verb{
	Name:    "bench",
	Summary: "Run simple image benchmark",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-t CACHE] [-c COUNT] [-d DEPTH]",
		"        [-o OFFSET] [-s BUFFER_SIZE] [-S STEP_SIZE] [-i AIO] [-n] [-q] [-U]",
		"        [-w [--pattern PATTERN] [--flush-interval INTERVAL [--no-drain]]]",
		"        FILENAME",
	},
	StockUsage: []string{
		"[-f FMT | --image-opts] [-t CACHE] [-c COUNT] [-d DEPTH]",
		"        [-o OFFSET] [-s BUFFER_SIZE] [-S STEP_SIZE] [-i AIO] [-n]",
		"        [-w [--pattern PATTERN] [--flush-interval INTERVAL [--no-drain]]]",
	},
	LongOrder: "help format image-opts cache count depth offset buffer-size step-size aio native write pattern " +
		"flush-interval no-drain force-share",
	Rows: []Row{
		{Short: 'q', Extra: "quiet", Help: []string{"quiet operations"}, Stock: "  -q, --quiet\n     quiet operations\n"},
		format("specify FILENAME format explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 't', Long: "cache", Arg: "CACHE", Kind: Cache, Help: []string{"cache mode for FILENAME (writeback)"}},
		{Short: 'c', Long: "count", Arg: "COUNT", Help: []string{"number of I/O requests to perform"}},
		{Short: 's', Long: "buffer-size", Arg: "BUFFER_SIZE", Kind: Size, Help: []string{"size of each I/O request"}},
		{Short: 'd', Long: "depth", Arg: "DEPTH", Help: []string{"number of requests to perform in parallel"}},
		{Short: 'o', Long: "offset", Arg: "OFFSET", Kind: Size, Help: []string{"start first request at this OFFSET"}},
		{Short: 'S', Long: "step-size", Arg: "STEP_SIZE", Kind: Size, Help: []string{"each next request offset increment"}},
		{Short: 'i', Long: "aio", Arg: "AIO", Kind: Choice, Choices: []string{"threads", "native", "io_uring"},
			Help: []string{"async-io backend (threads, native, io_uring)"}},
		{Short: 'n', Long: "native", Help: []string{"use native AIO backend if possible"}},
		{Short: 'w', Long: "write", Help: []string{"perform write test (default is read)"}},
		{Long: "pattern", Arg: "PATTERN", Help: []string{"write this pattern byte instead of zero"}},
		{Long: "flush-interval", Arg: "FLUSH_INTERVAL", Help: []string{"issue flush after this number of requests"}},
		{Long: "no-drain", Help: []string{"do not wait when flushing pending requests"}},
		forceShare("images"),
		omitted(filename("image file name (or specification with --image-opts)")),
	},
	Note: []string{
		"Without options 75000 reads of 4096 bytes are done, 64 at a time, each STEP_SIZE (by default BUFFER_SIZE) behind the " +
			"one before, from the start again after the end. B<-w> overwrites what is in the image.",
	},
	Example: []string{"bench -c 10000 -d 16 -s 64k disk.qcow2", "reads 10000 times 64 KiB, 16 reads at a time"},
}
