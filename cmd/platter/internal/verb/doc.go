// Package verb holds one table for each verb: its options, operands and help. Everything that speaks of options is made
// from these tables: parsing, help, manual pages and shell completion, so that they cannot drift apart.
//
// A row has the wording that platter shows. Stock qemu-img's help leaves options out, misspells some and names others
// that it does not accept; where its text differs from the regular form of the row, the row carries that text in Stock,
// and help in qemu-img mode is stock's to the byte. qemu-img.c, from which that text comes, is under the MIT licence:
// Copyright (c) 2003-2008 Fabrice Bellard; the file LICENSE.qemu-img has the notice.
package verb
