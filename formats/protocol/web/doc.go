// Package web reads images from web servers: the drivers http and https. It asks for ranges of bytes, in pieces of the
// readahead size that are kept for a while, and never writes.
//
// What the server says when the image is opened, length and entity tag or time of change, must stay true: a reply of
// another length, without the range that was asked for, or of another version of the file is an error, so that no
// image is put together from two files. A connection that breaks or stalls is tried once more and then gives EIO.
package web
