#include "coordinator/imports/disk_locks.h"

#include <utility>

#include "common/catalogue.h"
#include "coordinator/imports/ledger_seal.h"
#include "coordinator/imports/pass.h"
#include "coordinator/provider/source_turns.h"

namespace vmferry::imports {
namespace {

// Whatever it could not write down any more: one that has ended reads nothing.
bool is_over(const kube::Object& import) {
  const auto parsed = api::parse_import(import);
  return parsed && api::find_condition(parsed->status.conditions, "Succeeded") != nullptr;
}

}  // namespace

Result<void> DiskLocks::rebuild(kube::Reader& reader, std::stop_token stop) {
  {
    const std::lock_guard lock(mutex_);
    if (rebuilt_) return {};
  }
  const auto all = TRY(reader.list(kube::types::kVirtualMachineImport,
                                   {.ns = ns_, .label_selector = {}}, std::move(stop)));
  std::map<Disk, Holder> holders;
  for (const kube::Object& import : all.items) {
    const auto ledger = ledger_of(import);
    if (!ledger || ledger->openings.empty() || ledger->opened_at.empty()) continue;
    const std::string text = import.annotation(api::kLedger).value_or("");
    if (is_over(import) || !is_sealed(text, import.uid(), key_)) continue;
    for (const auto& [disk, handle] : ledger->openings) {
      holders.try_emplace(Disk{source_key(ledger->opened_at), disk},
                          Holder{import.key(), import.uid()});
    }
  }
  const std::lock_guard lock(mutex_);
  // Nobody takes a disk before; what was closed since the list was read is asked about (is_over).
  if (!std::exchange(rebuilt_, true)) holders_ = std::move(holders);
  return {};
}

Result<std::optional<DiskLocks::Holder>> DiskLocks::take(const Disk& disk, const Holder& asks,
                                                         kube::Reader& reader,
                                                         std::stop_token stop) {
  TRY(rebuild(reader, stop));
  std::optional<Holder> holder;
  {
    const std::lock_guard lock(mutex_);
    const auto [found, is_free] = holders_.try_emplace(disk, asks);
    if (is_free || found->second.uid == asks.uid) return std::optional<Holder>();
    holder = found->second;
  }
  const auto object =
      TRY(kube::get_if_exists(reader, kube::types::kVirtualMachineImport, holder->import, stop));
  if (object && object->uid() == holder->uid && !is_over(*object)) return holder;
  const std::lock_guard lock(mutex_);
  Holder& now = holders_.try_emplace(disk, asks).first->second;
  if (now.uid == holder->uid) now = asks;
  return now.uid == asks.uid ? std::optional<Holder>() : std::optional(now);
}

void DiskLocks::keep_only(const std::string& uid,
                          const std::map<std::string, std::string>& openings) {
  const std::lock_guard lock(mutex_);
  std::erase_if(holders_, [&](const auto& item) {
    return item.second.uid == uid && !openings.contains(item.first.id);
  });
}

Result<void> lock_disk(Pass& pass, const std::string& disk_id, const std::string& disk_name) {
  if (pass.provider_kind() != ProviderKind::Ovirt) return {};
  const std::string source = source_key(pass.credentials->api_url);
  const auto other = TRY(pass.parts.disks->take({source, disk_id}, {pass.key(), pass.uid()},
                                                pass.parts.reader, pass.stop));
  if (!other) {
    pass.ledger.opened_at = source;  // written with the opening
    return {};
  }
  const std::string who = other->import.ns == pass.key().ns
                              ? fmt::format("import '{}'", other->import.name)
                              : std::string("an import of another namespace");
  return coded_error(ErrorKind::Unavailable, code::kDiskLocked, "disk '{}' is being read for {}",
                     disk_name, who);
}

}  // namespace vmferry::imports
