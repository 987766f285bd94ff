#include "transfer/journal.h"

#include <utility>

#include "common/catalogue.h"

namespace vmferry {

Error as_journal_error(Error error) {
  const bool is_storage =
      error.kind() != ErrorKind::InvalidArgument && error.kind() != ErrorKind::NotFound &&
      error.kind() != ErrorKind::Canceled && error.code() != code::kTargetBusy &&
      error.code() != code::kJournalInvalid;
  if (!is_storage) return error;
  return Error(ErrorKind::Unavailable, code::kJournalIo, error.message());
}

}  // namespace vmferry
