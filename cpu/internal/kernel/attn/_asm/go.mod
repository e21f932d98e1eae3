module github.com/atelier-go/atelier/cpu/internal/kernel/attn/_asm

go 1.26.0
