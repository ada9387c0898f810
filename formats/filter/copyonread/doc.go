// Package copyonread is the filter that keeps what is read: a range that the image below does not hold itself, but its
// backing chain does, is written into it when it is read. Content does not change; later reads need not go down the
// chain.
//
// A read and the write of what it found hold a lock against all writes through the filter: a write in between would
// otherwise be undone by older data.
package copyonread
