import os
import signal
import sqlite3
import sys
import time

path = "/workspace/crash.db"
db = sqlite3.connect(path)
db.execute("pragma journal_mode=" + sys.argv[1])
db.execute("create table if not exists t (a integer, b blob)")
db.commit()
db.close()
for round in range(20):
    child = os.fork()
    if child == 0:
        db = sqlite3.connect(path)
        while True:
            with db:
                for _ in range(50):
                    db.execute("insert into t values (?, randomblob(3000))", (round,))
                db.execute("delete from t where rowid % 3 = 0")
    time.sleep(0.05 + round % 7 * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    db = sqlite3.connect(path)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    assert db.execute("select count(*) from t").fetchone()[0] % 50 >= 0
    db.close()
