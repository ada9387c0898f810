# platter: the commands of the repository. `make run` and `make test` install what they need.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX   ?= /usr/local
# where mount(8) looks for the programs that mount a type
SBINDIR  ?= /sbin
FUZZTIME ?= 20s
export FUZZTIME

# Static, without paths of the build machine, without symbol tables; the version is printed by `platter --version`.
export CGO_ENABLED ?= 0
# Without the tag every start of the program would build tables of a Markdown parser that only urfave/cli's own pages need.
BUILD := go build -trimpath -tags urfave_cli_no_docs -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build run test race lint fuzz oracle bench man install ci clean

build:
	$(BUILD) -o bin/platter ./cmd/platter

run: build
	@integration/setup/packages.sh run
	@integration/setup/run.sh

# PLATTER_LONG=1 runs long variants: all layouts in the suites, all combinations in the model tests, all rounds on mounts.
test:
	@integration/setup/packages.sh test
	@integration/setup/oracle.sh
	go run ./integration/testrun ./...

race:
	@integration/setup/packages.sh race
	CGO_ENABLED=1 go run ./integration/testrun -race ./cmd/... ./fusefs/... ./tools/... ./chain/... ./formats/...

lint:
	@integration/setup/lint.sh

fuzz:
	@integration/setup/fuzz.sh

oracle:
	@integration/setup/oracle.sh

bench: build
	@integration/setup/packages.sh run
	@integration/setup/oracle.sh
	go run ./integration/bench

man: build
	bin/platter gen-man dist/man

install: build man
	install -D -m 755 bin/platter $(DESTDIR)$(PREFIX)/bin/platter
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 dist/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -D -m 644 cmd/platter/systemd/platter@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/platter@.service
	install -d $(DESTDIR)$(SBINDIR)
	ln -sf $(PREFIX)/bin/platter $(DESTDIR)$(SBINDIR)/mount.fuse.platter
	ln -sf $(PREFIX)/bin/platter $(DESTDIR)$(SBINDIR)/umount.fuse.platter

ci:
	@integration/setup/packages.sh lint
	@$(MAKE) --no-print-directory lint build test

clean:
	rm -rf bin dist .cache/run
