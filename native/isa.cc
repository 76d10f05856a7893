// Which of the compiled instruction sets this machine runs.
#include <cstring>
#include "device.h"

#if defined(__x86_64__)
namespace baseline { extern const InstructionSet instructionSet; }
namespace avx2 { extern const InstructionSet instructionSet; }
namespace avx512 { extern const InstructionSet instructionSet; }
#else
namespace neon { extern const InstructionSet instructionSet; }
#endif

namespace mambakit {

static std::vector<const InstructionSet*> usable() {
  std::vector<const InstructionSet*> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back(&avx512::instructionSet);
  if (avx2) sets.push_back(&avx2::instructionSet);
  sets.push_back(&baseline::instructionSet);
#else
  sets.push_back(&neon::instructionSet);
#endif
  return sets;
}

const InstructionSet* chooseInstructionSet(const char* name) {
  for (const InstructionSet* set : usable())
    if (!*name || !std::strcmp(set->name, name)) return set;
  return nullptr;
}

std::vector<const char*> usableInstructionSets() {
  std::vector<const char*> names;
  for (const InstructionSet* set : usable()) names.push_back(set->name);
  return names;
}

}  // namespace mambakit
