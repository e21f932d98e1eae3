package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/atelier-go/atelier/device"
)

// machine is what the numbers depend on.
type machine struct {
	Card       string   `json:"card"`
	Capability string   `json:"compute_capability"`
	Memory     int64    `json:"memory_bytes"`
	Driver     string   `json:"driver"`
	Libraries  []string `json:"libraries"`
	SelfTest   string   `json:"self_test"`
	System     string   `json:"system"`
	Go         string   `json:"go"`

	report device.Report
}

// examined is a computer of which no card is chosen yet.
func examined(r device.Report) machine {
	m := machine{Driver: r.CUDA.Driver, System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), report: r}
	for _, l := range r.CUDA.Libraries {
		if l.Err == nil {
			m.Libraries = append(m.Libraries, fmt.Sprintf("%s %s (%s)", l.Name, l.Version, l.Path))
		}
	}
	return m
}

// choose makes it the machine of one of its cards, which must be of use.
func (m *machine) choose(card int) error {
	survey := m.report.CUDA
	if survey.Err != nil {
		return fmt.Errorf("there is no card to measure: %w", survey.Err)
	}
	if len(survey.Cards) == 0 {
		return errors.New("there is no card to measure")
	}
	if card >= len(survey.Cards) {
		return fmt.Errorf("-card is %d, want 0 to %d, the cards that the driver lists", card, len(survey.Cards)-1)
	}
	c := survey.Cards[card]
	if c.Err != nil {
		return fmt.Errorf("card %d cannot be used: %w", card, c.Err)
	}
	m.Card, m.Capability, m.Memory, m.SelfTest = c.Name, c.Capability, c.Memory, "passed"
	if err := m.report.Trials[card].Err; err != nil {
		m.SelfTest = err.Error()
	}
	return nil
}

// same tells whether results of one are also those of the other.
func (m machine) same(other machine) bool {
	return m.Card == other.Card && m.Capability == other.Capability && m.Driver == other.Driver
}
