#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include "common/handle.h"
#include "common/result.h"

namespace vmferry::embedded {

// A prepared statement in use: bind, then step. Reset, and free for its next user, when destroyed.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Statement(Statement&& other) noexcept : db_(other.db_), statement_(other.statement_) {
    other.statement_ = nullptr;
  }
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Binds the parameters from the first on.
  template <typename... Values>
  Statement& with(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    return *this;
  }
  Result<bool> step();  // true: a row
  Result<void> run();   // to the end
  std::string text(int column) const;
  std::int64_t number(int column) const;
  bool is_null(int column) const;

 private:
  void bind(int index, std::string_view value);
  void bind(int index, std::int64_t value);
  void bind(int index, std::nullptr_t);

  sqlite3* db_;
  sqlite3_stmt* statement_;
};

// One connection with a cache of its statements. Not thread-safe.
class Connection {
 public:
  // Opens an existing file.
  static Result<std::unique_ptr<Connection>> open(const std::string& path);

  // `sql` must outlive the connection (a literal); one user at a time for each text.
  Result<Statement> prepare(const char* sql);
  // Without parameters and results; several statements allowed.
  Result<void> execute(const char* sql);
  std::int64_t last_insert_rowid() const { return sqlite3_last_insert_rowid(db_.get()); }

 private:
  explicit Connection(sqlite3* db) : db_(db) {}

  Owned<sqlite3, sqlite3_close_v2> db_;
  // After db_, so that the statements go first.
  std::map<std::string_view, Owned<sqlite3_stmt, sqlite3_finalize>> statements_;
};

// Rolled back when destroyed without commit().
class Transaction {
 public:
  // To write. Waits for other writers up to the connection's busy timeout, then Unavailable.
  static Result<Transaction> begin(Connection& connection);
  // To read several things of the same state.
  static Result<Transaction> begin_read(Connection& connection);
  Transaction(Transaction&& other) noexcept : connection_(other.connection_) {
    other.connection_ = nullptr;
  }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

}  // namespace vmferry::embedded
