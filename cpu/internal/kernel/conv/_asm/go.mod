module github.com/atelier-go/atelier/cpu/internal/kernel/conv/_asm

go 1.26.0
