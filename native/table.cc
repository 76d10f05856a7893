// The kernels of one instruction set as a table, and the loop that decodes a command stream and runs it.
#include "kernels.h"

namespace MK_ISA {

#define MK_ENTRY(name) {#name, name},
static const KernelEntry table[] = {MK_KERNELS(MK_ENTRY)};
#undef MK_ENTRY
extern const i32 kernelCount = (i32)(sizeof(table) / sizeof(table[0]));

const char* kernelName(i32 opcode) { return opcode >= 0 && opcode < kernelCount ? table[opcode].name : nullptr; }

/// Runs the operations of a command stream (see src/backend/commands.ts) in order: opcode, words, operand count, number
/// count, then per operand 0, or address, dtype, rank, dims, strides, then the numbers.
void execute(Runtime* runtime, const double* words, i64 count) {
  Args args;
  args.runtime = runtime;
  for (i64 at = 0; at < count;) {
    const double* w = words + at;
    args.opcode = (i32)w[0];
    at += (i64)w[1];
    const int operands = (int)w[2];
    const int numbers = (int)w[3];
    w += 4;
    for (int i = 0; i < operands; i++) {
      View& view = args.operand[i];
      view.data = (char*)(__UINTPTR_TYPE__)*w++;
      if (!view.data) continue;
      view.dtype = (i32)*w++;
      view.rank = (i32)*w++;
      for (int d = 0; d < view.rank; d++) view.dim[d] = (i64)*w++;
      for (int d = 0; d < view.rank; d++) view.stride[d] = (i64)*w++;
    }
    for (int i = 0; i < numbers; i++) args.number[i] = *w++;
    table[args.opcode].run(args);
  }
}

}  // namespace MK_ISA
