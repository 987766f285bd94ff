// FileJournal: which content of the file counts. The file's format is drawn in journal_file.cc.
#include "transfer/journal.h"

#include "transfer/journal_file.h"
#include "transfer/resume.h"

namespace vmferry {

struct FileJournal::Impl {
  std::unique_ptr<JournalFile> file;
  Outcome outcome = Outcome::Fresh;
  std::string reason;
};

FileJournal::FileJournal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileJournal::~FileJournal() = default;

Result<std::unique_ptr<FileJournal>> FileJournal::open(const std::string& path,
                                                       const JournalIdentity& identity) {
  auto impl = std::make_unique<Impl>();
  impl->file = TRY(JournalFile::open(path));
  JournalFile& file = *impl->file;
  switch (file.content()) {
    case JournalFile::Content::Empty:
      impl->outcome = Outcome::Fresh;
      break;
    case JournalFile::Content::Corrupt:
      impl->outcome = Outcome::DiscardedCorrupt;
      impl->reason = "the journal is corrupt: " + file.damage();
      break;
    case JournalFile::Content::Valid:
      impl->reason = identity_difference(file.identity(), identity);
      if (!impl->reason.empty()) {
        impl->outcome = Outcome::DiscardedIdentity;
      } else {
        impl->outcome = file.complete() ? Outcome::Complete : Outcome::Resumed;
      }
      break;
  }
  std::unique_ptr<FileJournal> journal(new FileJournal(std::move(impl)));
  if (!journal->resumed()) TRY(file.create(identity));
  return journal;
}

FileJournal::Outcome FileJournal::outcome() const { return impl_->outcome; }
const std::string& FileJournal::reason() const { return impl_->reason; }

std::vector<DurableChunk> FileJournal::durable() const { return impl_->file->durable(); }

bool FileJournal::resumed() const {
  return impl_->outcome == Outcome::Resumed || impl_->outcome == Outcome::Complete;
}

Result<void> FileJournal::record(const std::vector<DurableChunk>& chunks) {
  return impl_->file->record(chunks);
}

Result<void> FileJournal::mark_complete() { return impl_->file->mark_complete(); }

}  // namespace vmferry
