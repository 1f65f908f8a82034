#include "textflag.h"

// With the trap flag set, the processor traps after each instruction and the
// kernel enters handler by SIGTRAP, with the flag cleared; restorer's return
// sets it again.

// A look at the stack's limit that finds the scheduler's wish to be let in ends
// in runtime.morestack: how often depends on the clock, so nothing counts from
// there until it returns. The third argument is a ucontext_t, with the next
// instruction at 168 and the stack at 160.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0
	MOVQ  168(DX), AX
	MOVQ  ·until(SB), CX
	TESTQ CX, CX
	JNE   away
	LEAQ  runtime·morestack(SB), CX
	CMPQ  AX, CX
	JEQ   leave
	INCQ  ·stepped(SB)
	RET

leave:
	MOVQ 160(DX), CX
	MOVQ (CX), CX
	MOVQ CX, ·until(SB)
	RET

away:
	CMPQ AX, CX
	JNE  still
	MOVQ $0, ·until(SB)

still:
	RET

// rt_sigreturn
TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX
	SYSCALL
	INT  $3

// func begin()
TEXT ·begin(SB), NOSPLIT, $0-0
	PUSHFQ
	ORQ $0x100, 0(SP)
	POPFQ
	RET

// func end()
TEXT ·end(SB), NOSPLIT, $0-0
	PUSHFQ
	ANDQ $~0x100, 0(SP)
	POPFQ
	RET

// func entries() (handler, restorer uintptr)
TEXT ·entries(SB), NOSPLIT, $0-16
	LEAQ ·handler(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·restorer(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// func thousand()
TEXT ·thousand(SB), NOSPLIT, $0-0
	MOVQ $500, AX

again:
	DECQ AX
	JNZ  again
	RET
