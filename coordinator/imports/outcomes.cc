#include "coordinator/imports/outcomes.h"

namespace vmferry::imports {

std::string_view to_string(ImportOutcome outcome) {
  switch (outcome) {
    case ImportOutcome::Successful:
      return "successful";
    case ImportOutcome::Failed:
      return "failed";
    case ImportOutcome::Cancelled:
      break;
  }
  return "cancelled";
}

void Outcomes::record(ImportOutcome outcome, std::chrono::nanoseconds duration) {
  auto counts = counts_.lock();
  Count& count = (*counts)[static_cast<std::size_t>(outcome)];
  ++count.imports;
  count.seconds += std::chrono::duration<double>(duration).count();
  for (std::size_t i = 0; i < kBuckets.size(); ++i) {
    if (duration <= kBuckets[i]) ++count.within[i];
  }
}

}  // namespace vmferry::imports
