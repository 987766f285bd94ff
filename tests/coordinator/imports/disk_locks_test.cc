#include "coordinator/imports/disk_locks.h"

#include <gtest/gtest.h>

#include "coordinator/api/import.h"
#include "coordinator/imports/ledger_seal.h"
#include "coordinator/provider/source_turns.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/spoiled_store.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;

const SecretString kKey("a coordinator's");
const std::string kEngine = "https://engine.example/ovirt-engine/api";
const DiskLocks::Disk kDisk{source_key(kEngine), "disk-1"};

class DiskLocksTest : public embedded::StoreFixture {
 protected:
  kube::Object import_of(const std::string& ns, const std::string& name) {
    return make(kube::types::kVirtualMachineImport,
                kube::Object(json{{"metadata", {{"name", name}, {"namespace", ns}}},
                                  {"spec",
                                   {{"providerCredentialsSecret", {{"name", "s"}}},
                                    {"source", {{"ovirt", {{"vm", {{"id", "123"}}}}}}}}}}));
  }
  static DiskLocks::Holder holder(const kube::Object& import) {
    return {import.key(), import.uid()};
  }
  // "" when `import` has the disk, else the key of whose it is.
  std::string take(DiskLocks& locks, const kube::Object& import, DiskLocks::Disk disk = kDisk) {
    auto taken = locks.take(disk, holder(import), spoiled_, {});
    EXPECT_TRUE(taken) << to_string(taken.error());
    return !taken ? "?" : *taken ? (*taken)->import.to_string() : "";
  }
  void write_ledger(const kube::Object& import, const std::string& text) {
    ASSERT_TRUE(store_->patch(
        kube::types::kVirtualMachineImport, import.key(),
        {{"metadata", {{"annotations", {{std::string(api::kLedger), text}}}}}}, {}, {}));
  }
  static std::string reading() {
    Ledger ledger;
    ledger.openings["disk-1"] = "transfer-1";
    ledger.opened_at = kEngine;
    return to_text(ledger);
  }
  void end(const kube::Object& import) {
    const json ended = {
        {{"type", "Succeeded"}, {"status", "False"}, {"reason", "ValidationFailed"}}};
    ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, import.key(),
                                     {{"status", {{"conditions", ended}}}}, {}));
  }

  SpoiledStore spoiled_{*store_};
};

TEST_F(DiskLocksTest, WhoComesFirstHasTheDiskUntilItIsClosed) {
  const auto a = import_of("n", "a"), b = import_of("other", "b");
  DiskLocks locks(kKey);
  EXPECT_EQ(take(locks, a), "");
  EXPECT_EQ(take(locks, a), "") << "it is its own";
  EXPECT_EQ(take(locks, b), "n/a");
  EXPECT_EQ(take(locks, b, {"https://another.example/api", "disk-1"}), "") << "of another engine";
  locks.keep_only(a.uid(), {{"disk-1", "transfer-1"}});
  EXPECT_EQ(take(locks, b), "n/a");
  locks.keep_only(a.uid(), {});
  EXPECT_EQ(take(locks, b), "");
  EXPECT_EQ(take(locks, a), "other/b");
}

TEST_F(DiskLocksTest, ANewProcessKnowsWhatItsPredecessorSealed) {
  const auto a = import_of("n", "a"), b = import_of("n", "b");
  write_ledger(a, sealed(reading(), a.uid(), kKey));
  DiskLocks locks(kKey);
  EXPECT_EQ(take(locks, b), "n/a");
  EXPECT_EQ(take(locks, a), "");
}

// An annotation is anybody's who may edit the import.
TEST_F(DiskLocksTest, WhatSomebodyWritesIntoAnAnnotationLocksNothing) {
  const auto a = import_of("n", "a"), b = import_of("n", "b"), c = import_of("n", "c");
  write_ledger(a, reading());
  write_ledger(c, sealed(reading(), a.uid(), kKey));  // another import's
  DiskLocks locks(kKey);
  EXPECT_EQ(take(locks, b), "");

  write_ledger(a, sealed(reading(), a.uid(), SecretString("a guess")));
  DiskLocks later(kKey);
  EXPECT_EQ(take(later, b), "");
}

TEST_F(DiskLocksTest, ImportsThatHaveEndedReadNothing) {
  const auto a = import_of("n", "a"), b = import_of("n", "b");
  write_ledger(a, sealed(reading(), a.uid(), kKey));
  end(a);
  DiskLocks locks(kKey);
  EXPECT_EQ(take(locks, b), "");
  end(b);
  const auto c = import_of("n", "c");
  EXPECT_EQ(take(locks, c), "") << "also when they end later";
}

TEST_F(DiskLocksTest, AnImportThatIsGoneHoldsNothing) {
  const auto a = import_of("n", "a"), b = import_of("n", "b");
  DiskLocks locks(kKey);
  ASSERT_EQ(take(locks, a), "");
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, a.key(),
                             kube::Propagation::Background, {}, {}));
  EXPECT_EQ(take(locks, b), "");
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, b.key(),
                             kube::Propagation::Background, {}, {}));
  const auto again = import_of("n", "b");  // of the same name
  EXPECT_EQ(take(locks, again), "");
}

TEST_F(DiskLocksTest, WhatCannotBeReadIsNotTakenForFree) {
  const auto a = import_of("n", "a");
  const Error away = make_error(ErrorKind::Unavailable, "the store is away");
  spoiled_.refuse("list", "VirtualMachineImport", away);
  DiskLocks locks(kKey);
  EXPECT_FALSE(locks.take(kDisk, holder(a), spoiled_, {}));
  spoiled_.spoil = nullptr;
  EXPECT_EQ(take(locks, a), "");
  const auto b = import_of("n", "b");
  spoiled_.refuse("get", "VirtualMachineImport", away);
  EXPECT_FALSE(locks.take(kDisk, holder(b), spoiled_, {}));
}

TEST_F(DiskLocksTest, OnlyTheNamespaceThatIsWatchedIsRead) {
  const auto a = import_of("n", "a"), b = import_of("other", "b");
  write_ledger(b, sealed(reading(), b.uid(), kKey));
  DiskLocks locks(kKey, "n");
  EXPECT_EQ(take(locks, a), "");
}

TEST(LedgerSealTest, IsOfTheTextTheImportAndTheKey) {
  Ledger ledger;
  ledger.openings["d"] = "t";
  const std::string text = sealed(to_text(ledger), "uid", kKey);
  EXPECT_TRUE(is_sealed(text, "uid", kKey));
  EXPECT_FALSE(is_sealed(text, "uid-2", kKey));
  EXPECT_FALSE(is_sealed(text, "uid", SecretString("other")));
  EXPECT_FALSE(is_sealed(to_text(ledger), "uid", kKey));
  std::string changed = text;
  changed.replace(changed.find("\"t\""), 3, "\"u\"");
  EXPECT_FALSE(is_sealed(changed, "uid", kKey));
  for (const char* rubbish : {"", "{", "[]", "{\"seal\":7}", "{\"seal\":\"\"}"}) {
    EXPECT_FALSE(is_sealed(rubbish, "uid", kKey)) << rubbish;
  }
  const std::string deep =
      R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + R"(,"seal":"00"})";
  EXPECT_FALSE(is_sealed(deep, "uid", kKey));
  EXPECT_EQ(sealed(to_text(ledger), "uid", SecretString()), to_text(ledger));
}

}  // namespace
}  // namespace vmferry::imports
