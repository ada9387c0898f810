package lzfse

// A bvx2 stream written by Apple's tools: the table of a GUID partition table with one entry, 16384 bytes.
const gptEntries = "YnZ4MgBAAABEACACAAoAcIaI2WORGAAAowAAADokwA4PAUyACQAwJxOACQATgLfgnXkBAAAAAAAAAAAAAAAAAAAA4AMDAADgDt4A" +
	"4A4AAO4AgDsA4A4AgDvgDuAO7rgDuAPgDgAAgDu4ewN4A3gDuOMOgDsAAACAO4A7AADu7gAAAAAAeAN4A+4A7gDgDgDgDgAAAADg" +
	"jjsAAAAAuAMA4A4AAPBAUVC33deEnoTX3JRIhD6mrOvSt1Aj9D0soK/wyjM0j4gAAAAAAAAAAIDK/Z///7///7//g4GJJgFidngk"

// A bvxn stream written by Apple's tools: the header of that table, 512 bytes.
const gptHeader = "YnZ4bgACAABaAAAA4ARFRkkgUEFSVAAAAQBcAAAA5iUbwwAHiAUAAQABmAj7Dp4iAGAQ2uAB1Vr7Ahy//kGmhd4kI5CbIQIYF5gE" +
	"AIDx5aK5oKgAOAHw//B34wAAAAYAAAAAAAAAYnZ4JA=="
