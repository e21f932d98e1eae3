module github.com/atelier-go/atelier/cpu/internal/kernel/elem/_asm

go 1.26.0
