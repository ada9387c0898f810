package complete_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/cmd/platter/internal/complete"
)

type names struct{}

func (names) Formats() []string { return []string{"qcow2", "raw"} }

func (names) Options(verb, format string) []complete.Candidate {
	if format == "qcow2" && verb != "amend" {
		return []complete.Candidate{{Word: "cluster_size", Help: "size"}, {Word: "compat"}}
	}
	return []complete.Candidate{{Word: format + "_" + verb}}
}

func (names) Snapshots(image, format string) []string { return []string{"snap-" + image + format} }

func (names) Bitmaps(image, format string) []string { return []string{"bits-" + image + format} }

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"cr":                              "create",
		"--tr":                            "--trace",
		"-T x inf":                        "info",
		"create --backing-":               "--backing-format --backing-unsafe",
		"create -f q":                     "qcow2",
		"create -fq":                      "-fqcow2",
		"create --format=r":               "--format=raw",
		"create -f qcow2 -o c":            "cluster_size= compat=",
		"create -fqcow2 -o compat=v3,c":   "compat=v3,cluster_size=",
		"create -qf qcow2 -o h":           "help",
		"create -o ":                      "raw_create= help",
		"convert -f qcow2 -O raw -o ":     "raw_convert= help",
		"convert -O qcow2 -o cl":          "cluster_size=",
		"amend -f qcow2 -o ":              "qcow2_amend= help",
		"check -r ":                       "leaks all",
		"check -T wr":                     "writeback writethrough",
		"snapshot -d ":                    "snap-",
		"snapshot disk -d ":               "snap-disk",
		"convert -f qcow2 disk out -l s":  "snap-diskqcow2",
		"bitmap --add disk ":              "bits-disk",
		"bitmap disk b --merge bits":      "bits-disk",
		"info ":                           "FILES",
		"info -- -":                       "FILES",
		"convert --backing=x":             "FILES --backing=",
		"convert -Bx":                     "FILES -B",
		"dd co":                           "count=",
		"dd if=x":                         "FILES if=",
		"create disk ":                    "",
		"info --output=":                  "--output=human --output=json",
		"info --nonsense=":                "",
		"help conv":                       "convert",
		"completion ":                     "bash zsh fish",
		"nonsense ":                       "",
		"resize disk --preallocation fal": "falloc",
	} {
		a := complete.Complete(names{}, strings.Split(line, " "))
		var got []string
		if a.Files {
			got = append(got, "FILES")
		}
		if a.Prefix != "" {
			got = append(got, a.Prefix)
		}
		for _, c := range a.Candidates {
			got = append(got, c.Word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestAnswersForBash(t *testing.T) {
	for line, want := range map[string]string{
		"platter info --output=j":           "words\njson\n",
		`platter info "a b" --out`:          "words\n--output\n",
		`platter snapshot -d s 'a b'`:       "files\n",
		`platter snapshot my\ disk -d snap`: "words\nsnap-my disk\n",
	} {
		var out bytes.Buffer
		complete.Answers(&out, names{}, "bash", []string{line})
		if out.String() != want {
			t.Errorf("%s: %q, want %q", line, out.String(), want)
		}
	}
}

// fakeShell makes a directory with a "platter" that answers as the real one does for one line, and the script.
func fakeShell(t *testing.T, shell, answer string) (dir, script string) {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skip(err)
	}
	text, ok := complete.Script(shell)
	if !ok {
		t.Fatal("no script")
	}
	dir = t.TempDir()
	script = filepath.Join(dir, "script")
	program := "#!/bin/sh\ncat <<'END'\n" + answer + "END\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "platter"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir, script
}

func TestBashScript(t *testing.T) {
	_, script := fakeShell(t, "bash", "words\nhuman\njson\n")
	out, err := exec.Command("bash", "-c", "source "+script+`
		COMP_WORDS=(platter info --output = "") COMP_CWORD=4 COMP_LINE="platter info --output=" COMP_POINT=22
		_platter 2>/dev/null; echo "${COMPREPLY[@]}"; complete -p platter`).CombinedOutput()
	if string(out) != "human json\ncomplete -F _platter platter\n" {
		t.Errorf("%s, %v", out, err)
	}
}

func TestFishScript(t *testing.T) {
	_, script := fakeShell(t, "fish", "words\n--output\tformat\n")
	out, err := exec.Command("fish", "-c", "source "+script+"; complete -C 'platter info --ou'").CombinedOutput()
	if string(out) != "--output\tformat\n" {
		t.Errorf("%s, %v", out, err)
	}
}

func TestZshScript(t *testing.T) {
	_, script := fakeShell(t, "zsh", "")
	if out, err := exec.Command("zsh", "-n", script).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s, %v", out, err)
	}
}
