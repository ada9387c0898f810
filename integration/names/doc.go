// Package names opens images under every kind of name, and through references of images to each other, with stock
// qemu-img and with platter, and compares: json: and option strings, nested and with backing files of their own,
// relative names from several folders, and how info shows them all.
package names
