package main

import (
	"fmt"
	"io"
	"time"
)

// progressLine shows how far something is that this process does itself. It implements backup.Progress.
type progressLine struct {
	bar        *bar
	text       string
	done, size uint64 // bytes
	shown      time.Time
}

func newProgressLine(out io.Writer) *progressLine { return &progressLine{bar: newBar(out)} }

// Step implements backup.Progress.
func (p *progressLine) Step(text string) {
	p.text = text
	p.show()
}

// Units implements backup.Progress: bytes say it better.
func (p *progressLine) Units(_, _ uint64) {}

// Bytes implements backup.Progress.
func (p *progressLine) Bytes(done, total uint64) {
	p.done, p.size = done, total
	p.show()
}

// lineRedraw is how often a line is drawn at most.
const lineRedraw = 100 * time.Millisecond

func (p *progressLine) show() {
	now := time.Now()
	if now.Sub(p.shown) < lineRedraw {
		return
	}
	p.shown = now
	text := p.text
	if p.size > 0 {
		text = fmt.Sprintf("%3d%%  %s of %s  %s", 100*p.done/p.size, bytesText(p.done), bytesText(p.size), text)
	}
	p.bar.note(text, now)
}

func (p *progressLine) close() { p.bar.close() }
