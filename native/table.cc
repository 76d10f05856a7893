// The kernels and the loops of limits.h by name, and the loop that decodes a command stream and runs it. The layout of the stream is written down
// in src/backend/commands.ts.
#include "kernels.h"
#include "limits.h"

namespace MK_ISA {

static const Kernel kernels[] = {
#define MK_FUNCTION(name) name,
    MK_KERNELS(MK_FUNCTION) MK_LIMITS(MK_FUNCTION)
#undef MK_FUNCTION
};

static const char* const names[] = {
#define MK_NAME(name) #name,
    MK_KERNELS(MK_NAME) MK_LIMITS(MK_NAME)
#undef MK_NAME
};

static const double* decode(const double* word, View& view) {
  view.data = (char*)(decltype(sizeof 0))*word++;
  if (!view.data) return word;
  view.dtype = (i32)*word++;
  view.rank = (i32)*word++;
  for (int i = 0; i < view.rank; i++) view.dim[i] = (i64)*word++;
  for (int i = 0; i < view.rank; i++) view.stride[i] = (i64)*word++;
  return word;
}

static void execute(Runtime* runtime, const double* words, i64 count) {
  Args args;
  args.runtime = runtime;
  for (const double* const end = words + count; words < end && !runtime->stop; words += (i64)words[1]) {
    args.opcode = (i32)words[0];
    const int operands = (int)words[2];
    const int numbers = (int)words[3];
    const double* word = words + 4;
    for (int i = 0; i < operands; i++) word = decode(word, args.operand[i]);
    for (int i = 0; i < numbers; i++) args.number[i] = *word++;
    kernels[args.opcode](args);
  }
}

extern const InstructionSet instructionSet;
#define MK_TEXT(x) MK_TEXT_OF(x)
#define MK_TEXT_OF(x) #x
const InstructionSet instructionSet = {MK_TEXT(MK_ISA), sizeof names / sizeof *names, names, execute};

}  // namespace MK_ISA
