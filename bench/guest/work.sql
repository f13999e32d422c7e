-- SPDX-License-Identifier: Apache-2.0
create table t (id integer primary key, name text, value real, class integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 40000)
	insert into t select i, 'name' || (i * 7919 % 40009), (i * 104729 % 1000003) / 7.0, i % 97 from n;
create index by_name on t (name);
create index by_class on t (class, value);
select class, count(*), round(sum(value), 3), max(name) from t group by class order by 3 desc limit 3;
select count(*) from t a join t b on a.name = 'name' || (b.id * 7919 % 40009) where b.class < 20;
update t set value = value * 1.01 where class between 10 and 40;
delete from t where id % 11 = 3;
select count(*), round(total(value), 2), group_concat(distinct substr(name, 1, 5)) from t where name like 'name1%';
pragma integrity_check;
