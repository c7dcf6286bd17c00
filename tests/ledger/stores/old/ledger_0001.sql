BEGIN TRANSACTION;
CREATE TABLE trivet_artifacts (
	digest TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	content TEXT NOT NULL, 
	files TEXT NOT NULL, 
	created BIGINT NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "trivet_artifacts" VALUES('4ac0013a252370ac421c8ed14fcb7d6ffa5163e8c42deb744b5f7c8613723f6c','model','{"trees":100}','d49e1670ed3d9270f1ec585a6c1dde09a8c3a7cab322459d7b9c1b714483f29d','{"model.bin":["2222222222222222222222222222222222222222222222222222222222222222",9]}',1774747800123456);
INSERT INTO "trivet_artifacts" VALUES('a2d1c6345c799baa85bdaf16b78a03a844be92c20325303d6b37bf365f3c0bf1','table','{"columns":["a"]}','4c4ed5bf7cfcde7181559b4ac3a242d27149b9a243b94208be6adb4abb60ea21','{"rows.csv":["1111111111111111111111111111111111111111111111111111111111111111",3]}',1774747800123456);
CREATE TABLE trivet_edges (
	run TEXT NOT NULL, 
	direction TEXT NOT NULL, 
	slot TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	PRIMARY KEY (run, direction, slot), 
	CONSTRAINT trivet_edges_direction CHECK (direction IN ('input', 'output')), 
	FOREIGN KEY(run) REFERENCES trivet_runs (id)
)
 WITHOUT ROWID

;
INSERT INTO "trivet_edges" VALUES('01OLD0000000000000000FIT','output','result','4ac0013a252370ac421c8ed14fcb7d6ffa5163e8c42deb744b5f7c8613723f6c');
INSERT INTO "trivet_edges" VALUES('01OLD0000000000000000FIT','input','train','a2d1c6345c799baa85bdaf16b78a03a844be92c20325303d6b37bf365f3c0bf1');
CREATE TABLE trivet_latest_metrics (
	run TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value DOUBLE, 
	PRIMARY KEY (run, name), 
	FOREIGN KEY(run) REFERENCES trivet_runs (id)
)
 WITHOUT ROWID

;
INSERT INTO "trivet_latest_metrics" VALUES('01OLD0000000000000000FIT','auc',0.9);
INSERT INTO "trivet_latest_metrics" VALUES('01OLD0000000000000000FIT','stated',0.75);
INSERT INTO "trivet_latest_metrics" VALUES('01OLD0000000000000000FIT','wrong',NULL);
CREATE TABLE trivet_metrics (
	run TEXT NOT NULL, 
	name TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	value DOUBLE, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (run, name, step), 
	FOREIGN KEY(run) REFERENCES trivet_runs (id)
)
 WITHOUT ROWID

;
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000BAD','hidden',1,2.0,1774747800123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','auc',-3,-9e999,1774747797123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','auc',0,0.5,1774747800123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','auc',1,NULL,1774747801123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','auc',2,0.9,1774747802123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','wrong',0,NULL,1774747800123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','wrong',1,NULL,1774747800123456);
INSERT INTO "trivet_metrics" VALUES('01OLD0000000000000000FIT','wrong',2,NULL,1774747800123456);
CREATE TABLE trivet_pointers (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	label TEXT NOT NULL, 
	version BIGINT, 
	digest TEXT, 
	at BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	FOREIGN KEY(digest) REFERENCES trivet_artifacts (digest)
);
INSERT INTO "trivet_pointers" VALUES(1,'model/delay','1',1,'4ac0013a252370ac421c8ed14fcb7d6ffa5163e8c42deb744b5f7c8613723f6c',1774747800123456,'ada','first');
INSERT INTO "trivet_pointers" VALUES(2,'model/delay','champion',NULL,'4ac0013a252370ac421c8ed14fcb7d6ffa5163e8c42deb744b5f7c8613723f6c',1774747800123456,'ada','');
CREATE TABLE trivet_runs (
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	status TEXT NOT NULL, 
	started BIGINT NOT NULL, 
	ended BIGINT, 
	parent TEXT, 
	user TEXT NOT NULL, 
	host TEXT NOT NULL, 
	recipe TEXT, 
	inputs TEXT NOT NULL, 
	outputs TEXT NOT NULL, 
	parameters TEXT NOT NULL, 
	tags TEXT NOT NULL, 
	"key" TEXT, 
	key_parts TEXT NOT NULL, 
	error TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "trivet_runs" VALUES('01OLD0000000000000000FIT','experiment','fit','finished',1774747800123456,1774747980123456,NULL,'ada','loom','{"entry":"flights.train:fit","code":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","environment":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","seed":7,"threads":2,"variables":{"OMP_NUM_THREADS":"2"},"active":{"blas":[{"threads":2}]}}','{"train":"a2d1c6345c799baa85bdaf16b78a03a844be92c20325303d6b37bf365f3c0bf1"}','{"result":"4ac0013a252370ac421c8ed14fcb7d6ffa5163e8c42deb744b5f7c8613723f6c"}','{"depth":3,"lr":"0.10","note":"half \ud83d","":null,"on":true,"nan":NaN,"deep":[1,{"a":2.5}],"long":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","nul\u0000":"nul\u0000here"}','{"team":"a","\ud83d\udeeb":"d\u00e9lai","long":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}','4444444444444444444444444444444444444444444444444444444444444444','{"code":"5555555555555555555555555555555555555555555555555555555555555555"}','"ValueError: no"');
INSERT INTO "trivet_runs" VALUES('01OLD0000000000000000BAD','task','fit','failed',1774747800123456,1774747800123456,'01OLD0000000000000000FIT','','',NULL,'{}','{}','{}','{}',NULL,'{}','"half \ud83d"');
INSERT INTO "trivet_runs" VALUES('01OLD0000000000000000RUN','experiment','open','running',1774747800123456,NULL,NULL,'','',NULL,'{}','{}','{"depth":5}','{}',NULL,'{}','""');
CREATE TABLE trivet_version (
	version_num TEXT NOT NULL, 
	CONSTRAINT trivet_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "trivet_version" VALUES('0001');
CREATE INDEX trivet_artifacts_newest_of_kind ON trivet_artifacts (kind, created, digest);
CREATE INDEX trivet_artifacts_newest ON trivet_artifacts (created, digest);
CREATE INDEX trivet_runs_by_kind ON trivet_runs (kind, id);
CREATE INDEX trivet_runs_by_name ON trivet_runs (name, kind, id);
CREATE INDEX trivet_runs_by_parent ON trivet_runs (parent, id);
CREATE INDEX trivet_runs_by_status ON trivet_runs (status, id);
CREATE INDEX trivet_runs_by_key ON trivet_runs ("key", id);
CREATE INDEX trivet_edges_by_digest ON trivet_edges (digest, direction, run);
CREATE INDEX trivet_pointers_by_digest ON trivet_pointers (digest);
CREATE INDEX trivet_pointers_by_label ON trivet_pointers (name, label, sequence);
CREATE UNIQUE INDEX trivet_pointers_by_version ON trivet_pointers (name, version);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('trivet_pointers',2);
COMMIT;
