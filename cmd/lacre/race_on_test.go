//go:build race

package main

// raceDetector tells whether this test binary watches for data races, which makes it
// several times slower.
const raceDetector = true
